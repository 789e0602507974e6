//! Starts the page.

fn main() {
    web_ui::mount();
}
