//! A panic ends the whole process: one that ended its task alone would leave the others waiting for what never comes,
//! in a process that looks well. The next incarnation begins from what is written.

use std::cell::Cell;
use std::panic::{UnwindSafe, catch_unwind, set_hook, take_hook};

use crate::run::code;

thread_local! {
    /// How many [`guarded`] calls this thread is in.
    static GUARDS: Cell<u32> = const { Cell::new(0) };
}

/// Lets `work` panic without an end of the process, for libraries that panic at what others wrote. It covers this
/// thread alone: `work` must not leave its panic to another one.
///
/// # Errors
/// What `work` panicked with.
pub fn guarded<T>(work: impl FnOnce() -> T + UnwindSafe) -> std::thread::Result<T> {
    GUARDS.set(GUARDS.get() + 1);
    let outcome = catch_unwind(work);
    GUARDS.set(GUARDS.get() - 1);
    outcome
}

/// From here on every panic that is not [`guarded`] ends the process, after it was told as ever.
pub(crate) fn end_at_a_panic() {
    let tell = take_hook();
    set_hook(Box::new(move |panic| {
        tell(panic);
        if GUARDS.get() == 0 {
            std::process::exit(code::PANIC.into());
        }
    }));
}
