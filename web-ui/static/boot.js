// A file of its own, because the page's content policy allows no script inside index.html.
import init from './web-ui.js';

init().catch((reason) => {
  const place = document.getElementById('starting');
  if (place) {
    place.textContent = `The page could not start in this browser: ${reason}. Use a current Firefox, Chrome, Edge or Safari.`;
  }
});
