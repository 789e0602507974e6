//! Starting, looking, stopping, forgetting: from other terminals too, and after the supervisor itself was
//! killed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use protocol::operator::{self, HealthState, Query, Reply};
use protocol::subject;
use serde_json::Value;
use supervisor::Plan;
use supervisor::process::Identity;
use supervisor::record::Record;

use crate::errors::{run_all, status};
use crate::harness::{
    PATIENCE, Whole, arguments, demo, root, run_all_arguments, supervisor, turn, until, words,
};

#[tokio::test]
async fn a_second_run_on_the_same_state_is_refused() {
    let whole = demo().await;
    let state = whole.stack.plan.state.clone();
    let (code, text) = tokio::task::spawn_blocking(move || run_all(&state, &[]))
        .await
        .unwrap();
    assert_eq!(code, Some(75), "{text}");
    let own = std::process::id().to_string();
    assert!(
        text.contains(&own) && text.contains(&whole.stack.dashboard()),
        "{text}"
    );
    assert_eq!(status(&whole).await.0, Some(0), "the first one is not disturbed");
    whole.stop().await;
}

#[tokio::test]
async fn status_and_stop_work_from_another_terminal() {
    let _turn = turn().await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state").display().to_string();
    let nothing = supervisor(&["status", "--state", &state]);
    assert_eq!(nothing.status.code(), Some(3), "{}", words(&nothing));
    let mut run = start_program(&state);
    until("status is all ready", PATIENCE * 2, || ready(&state)).await;
    let processes = Record::read(Path::new(&state))
        .expect("what runs is on disk")
        .processes();
    assert_eq!(processes.len(), 7, "{processes:?}");
    let stopped = supervisor(&["stop", "--state", &state]);
    assert!(stopped.status.success(), "{}", words(&stopped));
    assert!(!processes.iter().any(Identity::runs), "no process is left");
    assert!(run.wait().unwrap().success());
    assert_eq!(supervisor(&["status", "--state", &state]).status.code(), Some(3));
}

#[tokio::test]
async fn a_killed_supervisor_leaves_nothing_that_the_next_command_does_not_find() {
    let _turn = turn().await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state").display().to_string();
    let mut run = start_program(&state);
    until("status is all ready", PATIENCE * 2, || ready(&state)).await;
    let record = Record::read(Path::new(&state)).unwrap();
    record.supervisor.signal(Signal::SIGKILL);
    run.wait().unwrap();
    // The stages see their input end and stop by themselves; the server is found by its number.
    let stages = || async {
        let of_ours = record
            .members
            .iter()
            .filter(|member| member.name != "nats-server");
        let left = of_ours
            .filter_map(|member| member.process.as_ref())
            .any(Identity::runs);
        (!left).then_some(())
    };
    until("the stages end", Duration::from_secs(15), stages).await;
    let stopped = supervisor(&["stop", "--state", &state]);
    assert!(stopped.status.success(), "{}", words(&stopped));
    assert!(
        !record.processes().iter().any(Identity::runs),
        "no process is left"
    );
}

fn start_program(state: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_supervisor"));
    command
        .args(run_all_arguments(Path::new(state)))
        .current_dir(root());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the supervisor's program runs")
}

async fn ready(state: &str) -> Option<()> {
    let state = state.to_owned();
    let output = tokio::task::spawn_blocking(move || supervisor(&["status", "--state", &state]))
        .await
        .unwrap();
    output.status.success().then_some(())
}

#[tokio::test]
async fn a_state_with_open_positions_is_not_forgotten() {
    let whole = demo().await;
    let open = || async {
        let (positions, _) = whole.ask::<Value>("positions", &Query::default()).await?;
        Some(
            positions
                .iter()
                .filter(|position| position["quantity"] != "0")
                .count(),
        )
    };
    until("two positions are open", Duration::from_secs(120), || async {
        open().await.filter(|count| *count >= 2)
    })
    .await;
    let refused = forget(&whole.stack.plan.state).await;
    assert!(
        refused.0 == Some(75) && refused.1.contains("stop"),
        "while it runs: {refused:?}"
    );
    let (folder, plan) = whole.stop_and_keep().await;
    let refused = forget(&plan.state).await;
    assert!(
        refused.0 == Some(76) && refused.1.contains("open positions"),
        "{refused:?}"
    );
    let whole = Whole::on(folder, plan).await;
    let reply: Reply = until("an answer to flatten", PATIENCE, || async {
        let bus = whole.stack.bus()?;
        bus.request(&subject::command("flatten"), &operator::Command::default())
            .await
            .ok()
    })
    .await;
    assert!(reply.accepted, "{reply:?}");
    let open = || async {
        let (positions, _) = whole.ask::<Value>("positions", &Query::default()).await?;
        positions
            .iter()
            .all(|position| position["quantity"] == "0")
            .then_some(())
    };
    until("everything is closed", Duration::from_secs(120), open).await;
    let state = whole.stack.plan.state.clone();
    whole.stop().await;
    let forgotten = forget(&state).await;
    assert!(forgotten.0 == Some(0) && !state.exists(), "{forgotten:?}");
}

#[tokio::test]
async fn a_demo_goes_on_with_its_ledger_on_other_ports() {
    let whole = demo().await;
    let (folder, plan) = whole.stop_and_keep().await;
    let elsewhere = Plan::new(&root(), &arguments(&plan.state)).unwrap();
    let whole = Whole::on(folder, elsewhere).await;
    let before = &plan.settings.broker;
    let now = &whole.stack.plan.settings.broker;
    assert_eq!(now.gateway, before.gateway);
    assert_ne!(now.address, before.address);
    let ready = || async {
        let health = whole.stack.health("execution")?;
        (health.state == HealthState::Ready).then_some(())
    };
    until("execution is ready", PATIENCE, ready).await;
    whole.stop().await;
}

async fn forget(state: &Path) -> (Option<i32>, String) {
    let state = state.display().to_string();
    let output = tokio::task::spawn_blocking(move || supervisor(&["reset", "--state", &state]))
        .await
        .unwrap();
    (output.status.code(), words(&output))
}
