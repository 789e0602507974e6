//! The steps of the order path, and what must hold after each of them.

use engine::reconcile::Pass;
use stateright::{Model, Property};

use crate::law;
use crate::log::Log;
use crate::world::{
    Fate, Leading, Packed, Process, SYMBOLS, Said, Sent, State, Todo, epoch, news, opened, order, signal,
    truth,
};

/// How far the search goes.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Symbols that are decided on.
    pub symbols: usize,
    /// Incarnations that lead, all together.
    pub epochs: u64,
    /// Records of the ledger.
    pub records: u64,
    /// Processes killed at any instant. One that ends by its own decision is not counted.
    pub crashes: u8,
    /// Connections that the broker drops while their process lives.
    pub drops: u8,
    /// Acknowledgements that never arrive.
    pub lost: u8,
    /// Orders that the broker takes off the market.
    pub cancels: u8,
    /// What is said of each symbol, at any time, any number of times.
    pub said: &'static [Said],
}

/// The design, or the design without one of its fences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    Design,
    /// Two connections of one client id live side by side.
    NoClientIdFence,
    /// A reading of the broker may show what was there before it began.
    StaleReading,
    /// An append that is refused or unanswered makes the process lead again instead of ending it.
    LeadAgain,
    /// Appends are not conditional on the position, only on the subject.
    NoPosition,
    /// Appends are neither conditional on the position nor on the subject.
    NoGuard,
    /// Neither is there one connection a client id.
    NoGuardNoFence,
    /// An order is written to the broker before its intent is in the ledger.
    SendFirst,
    /// What a reading does not show is sent again.
    Resend,
    /// An append without an answer counts as one that was acknowledged.
    TakeSilenceForYes,
    /// A lost connection is opened again by the same incarnation, which goes on where it was.
    Reconnect,
    /// An order that the broker did not speak of counts as rejected.
    SilenceIsRejection,
}

impl Variant {
    fn fenced(self) -> bool {
        !matches!(self, Self::NoClientIdFence | Self::NoGuardNoFence)
    }

    fn by_position(self) -> bool {
        !matches!(self, Self::NoPosition | Self::NoGuard | Self::NoGuardNoFence)
    }

    fn write_once(self) -> bool {
        !matches!(self, Self::NoGuard | Self::NoGuardNoFence)
    }
}

/// One step of one part of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Connect(usize),
    ConnectAgain(usize),
    ReadLedger(usize),
    Lead(usize),
    LeadUnanswered(usize),
    FirstReading(usize),
    FirstReadingStale(usize),
    SecondReading(usize),
    SecondReadingStale(usize),
    CompareSecond(usize),
    Decide(usize, usize, Said),
    Append(usize),
    AppendUnanswered(usize),
    Send(usize),
    Hear(usize, usize),
    Crash(usize),
    End(usize),
    Land(usize),
    TakeIn(usize),
    Fill(usize),
    Cancel(usize),
    Drop(usize),
}

/// The whole model.
pub struct Path {
    pub variant: Variant,
    pub bounds: Bounds,
}

impl Path {
    /// Whether the server accepts an append made after `seen`, as JetStream checks it.
    fn accepts(&self, log: &Log, seen: &Log, packed: &Packed) -> bool {
        let at_its_place = log == seen || !self.variant.by_position();
        let subject = log.next_subject(&packed.record(seen));
        at_its_place && (!self.variant.write_once() || log.written(&subject) == 0)
    }

    fn reads(&self, state: &State, stale: bool) -> Vec<(Sent, Fate)> {
        if stale { Vec::new() } else { state.broker.clone() }
    }

    fn lead(&self, state: &mut State, process: usize, answered: bool) {
        let Process::Read(connection, seen) = state.processes[process].clone() else {
            return;
        };
        let packed = epoch(process, &seen);
        let hasty = self.variant == Variant::SilenceIsRejection;
        state.processes[process] = Process::Down;
        if !answered {
            state.lost -= 1;
            state.pending.push((seen, packed));
        } else if self.accepts(&state.log, &seen, &packed) {
            state.log = state.log.with(&packed.record(&seen));
            state.processes[process] = Process::Leading(Leading::new(connection, state.log.clone(), hasty));
        }
    }

    /// The next thing that a process has to do, an append; what is no news is left out.
    fn append(&self, state: &mut State, process: usize, answered: bool) {
        let Process::Leading(mut leading) = state.processes[process].clone() else {
            return;
        };
        let Todo::Append(packed) = leading.todo.remove(0) else {
            return;
        };
        if !leading.is_new(&packed) {
            state.processes[process] = Process::Leading(leading);
            return;
        }
        let is_intent = packed.intent().is_some();
        if self.variant == Variant::SendFirst && is_intent {
            state.wire.push((leading.connection, order(&packed)));
        }
        if !answered {
            state.lost -= 1;
            state.processes[process] = match self.variant {
                Variant::TakeSilenceForYes if is_intent => {
                    leading.todo.insert(0, Todo::Send(packed.clone()));
                    Process::Leading(leading.clone())
                }
                Variant::LeadAgain => Process::Read(leading.connection, state.log.clone()),
                _ => Process::Down,
            };
            state.pending.push((leading.seen, packed));
        } else if self.accepts(&state.log, &leading.seen, &packed) {
            let record = packed.record(&leading.seen);
            state.log = state.log.with(&record);
            leading.seen = leading.seen.with(&record);
            if is_intent && self.variant != Variant::SendFirst {
                leading.todo.insert(0, Todo::Send(packed));
            }
            state.processes[process] = Process::Leading(leading);
        } else if self.variant == Variant::LeadAgain {
            state.processes[process] = Process::Read(leading.connection, state.log.clone());
        } else {
            state.processes[process] = Process::Down;
        }
    }

    fn read(&self, state: &mut State, process: usize, pass: Pass, broker: &[(Sent, Fate)]) {
        let log = state.log.clone();
        let Process::Leading(leading) = &mut state.processes[process] else {
            return;
        };
        let folded = leading.seen.sequence();
        leading.hear(truth(&log, broker, folded, pass));
        let news = leading.todo.iter().any(is_order_event);
        match pass {
            Pass::First => leading.first_done = !news,
            _ => leading.second_done = true,
        }
        if self.variant == Variant::Resend {
            let shown = |id| broker.iter().any(|(sent, _)| sent.id == id);
            let open: Vec<_> = leading.seen.portfolio().open_orders().cloned().collect();
            for ours in open.into_iter().filter(|ours| !shown(ours.id.clone())) {
                let symbol = SYMBOLS
                    .iter()
                    .position(|name| *name == ours.symbol.as_str())
                    .unwrap();
                let again = Sent {
                    id: ours.id,
                    order_id: ours.order_id,
                    symbol,
                    side: ours.side,
                };
                state.wire.push((leading.connection, again));
            }
        }
    }

    fn is_live(state: &State, connection: u8) -> bool {
        state.sessions.iter().any(|(_, live)| *live == connection)
    }

    fn leading_actions(&self, state: &State, process: usize, leading: &Leading, actions: &mut Vec<Action>) {
        match leading.todo.first() {
            Some(Todo::Append(_)) => {
                actions.push(Action::Append(process));
                if state.lost > 0 {
                    actions.push(Action::AppendUnanswered(process));
                }
            }
            Some(Todo::Send(_)) => actions.push(Action::Send(process)),
            None if !leading.first_done => {
                if Self::is_live(state, leading.connection) {
                    actions.push(Action::FirstReading(process));
                    if self.variant == Variant::StaleReading {
                        actions.push(Action::FirstReadingStale(process));
                    }
                }
            }
            None => {
                for number in 0..self.bounds.symbols {
                    let all = self.bounds.said.iter();
                    actions.extend(all.map(|said| Action::Decide(process, number, *said)));
                }
                if Self::is_live(state, leading.connection) {
                    for number in 0..state.broker.len() {
                        actions.push(Action::Hear(process, number));
                    }
                    if !leading.second_done && leading.reading.is_none() {
                        actions.push(Action::SecondReading(process));
                        if self.variant == Variant::StaleReading {
                            actions.push(Action::SecondReadingStale(process));
                        }
                    }
                }
                if leading.reading.is_some() {
                    actions.push(Action::CompareSecond(process));
                }
            }
        }
        if !Self::is_live(state, leading.connection) {
            actions.push(Action::End(process));
            if self.variant == Variant::Reconnect && state.sessions.is_empty() {
                actions.push(Action::ConnectAgain(process));
            }
        }
    }
}

fn is_order_event(todo: &Todo) -> bool {
    matches!(todo, Todo::Append(packed) if matches!(packed.draft.entry, protocol::ledger::Entry::Order(_)))
}

impl Model for Path {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            log: opened(),
            pending: Vec::new(),
            processes: [Process::Down, Process::Down],
            sessions: Vec::new(),
            connections: 0,
            wire: Vec::new(),
            broker: Vec::new(),
            crashes: self.bounds.crashes,
            drops: self.bounds.drops,
            lost: self.bounds.lost,
            cancels: self.bounds.cancels,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (process, is) in state.processes.iter().enumerate() {
            match is {
                Process::Down => {
                    if state.sessions.is_empty() || !self.variant.fenced() {
                        actions.push(Action::Connect(process));
                    }
                }
                Process::Connected(_) => actions.push(Action::ReadLedger(process)),
                Process::Read(..) => {
                    actions.push(Action::Lead(process));
                    if state.lost > 0 {
                        actions.push(Action::LeadUnanswered(process));
                    }
                }
                Process::Leading(leading) => self.leading_actions(state, process, leading, actions),
            }
            if *is != Process::Down && state.crashes > 0 {
                actions.push(Action::Crash(process));
            }
        }
        actions.extend((0..state.pending.len()).map(Action::Land));
        actions.extend((0..state.wire.len()).map(Action::TakeIn));
        let working = (0..state.broker.len()).filter(|number| state.broker[*number].1 == Fate::Working);
        for number in working {
            actions.push(Action::Fill(number));
            if state.cancels > 0 {
                actions.push(Action::Cancel(number));
            }
        }
        actions.extend((0..state.sessions.len()).map(Action::Drop));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.apply(&mut state, &action);
        (state != *last).then_some(state)
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.log.sequence() <= self.bounds.records && state.log.portfolio().epoch <= self.bounds.epochs + 1
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = law::always();
        properties.extend(law::reached());
        properties
    }
}

impl Path {
    fn apply(&self, state: &mut State, action: &Action) {
        match *action {
            Action::Connect(process) => {
                state.connections += 1;
                state.sessions.push((process, state.connections));
                state.processes[process] = Process::Connected(state.connections);
            }
            Action::ConnectAgain(process) => {
                state.connections += 1;
                state.sessions.push((process, state.connections));
                if let Process::Leading(leading) = &mut state.processes[process] {
                    leading.connection = state.connections;
                }
            }
            Action::ReadLedger(process) => {
                if let Process::Connected(connection) = state.processes[process]
                    && state.log.fault().is_none()
                {
                    state.processes[process] = Process::Read(connection, state.log.clone());
                }
            }
            Action::Lead(process) => self.lead(state, process, true),
            Action::LeadUnanswered(process) => self.lead(state, process, false),
            Action::FirstReading(process) => {
                let broker = self.reads(state, false);
                self.read(state, process, Pass::First, &broker);
            }
            Action::FirstReadingStale(process) => {
                let broker = self.reads(state, true);
                self.read(state, process, Pass::First, &broker);
            }
            Action::SecondReading(process) => self.take_reading(state, process, false),
            Action::SecondReadingStale(process) => self.take_reading(state, process, true),
            Action::CompareSecond(process) => {
                let reading = match &mut state.processes[process] {
                    Process::Leading(leading) => leading.reading.take().unwrap_or_default(),
                    _ => return,
                };
                self.read(state, process, Pass::Second, &reading);
            }
            Action::Decide(process, number, said) => {
                if let Process::Leading(leading) = &mut state.processes[process] {
                    leading.hear(signal(number, said));
                }
            }
            Action::Append(process) => self.append(state, process, true),
            Action::AppendUnanswered(process) => self.append(state, process, false),
            _ => self.apply_rest(state, action),
        }
    }

    /// The steps of the wire, the broker and what goes wrong.
    fn apply_rest(&self, state: &mut State, action: &Action) {
        match *action {
            Action::Send(process) => {
                let Process::Leading(leading) = &mut state.processes[process] else {
                    return;
                };
                let Todo::Send(packed) = leading.todo.remove(0) else {
                    return;
                };
                if !leading.passes(&packed) {
                    // The last gate catches some of what a missing fence lets through, and nothing of the design.
                    assert_ne!(
                        self.variant,
                        Variant::Design,
                        "the last gate stops what was decided well"
                    );
                    return;
                }
                let (connection, sent) = (leading.connection, order(&packed));
                leading.sent.push(packed);
                if Self::is_live(state, connection) {
                    state.wire.push((connection, sent));
                }
            }
            Action::Hear(process, number) => {
                let (log, (sent, fate)) = (state.log.clone(), state.broker[number].clone());
                let Process::Leading(leading) = &mut state.processes[process] else {
                    return;
                };
                if leading.told.insert((sent.id.clone(), fate)) {
                    leading.hear(news(&log, &sent, fate));
                }
            }
            Action::Crash(process) => {
                state.crashes -= 1;
                state.processes[process] = Process::Down;
            }
            Action::End(process) => state.processes[process] = Process::Down,
            Action::Land(number) => {
                let (seen, packed) = state.pending.remove(number);
                if self.accepts(&state.log, &seen, &packed) {
                    state.log = state.log.with(&packed.record(&seen));
                }
            }
            Action::TakeIn(number) => {
                let (connection, sent) = state.wire.remove(number);
                if Self::is_live(state, connection) {
                    state.broker.push((sent, Fate::Working));
                    state.broker.sort();
                }
            }
            Action::Fill(number) => {
                state.broker[number].1 = Fate::Filled;
                state.broker.sort();
            }
            Action::Cancel(number) => {
                state.cancels -= 1;
                state.broker[number].1 = Fate::Cancelled;
                state.broker.sort();
            }
            Action::Drop(number) => self.drop_session(state, number),
            _ => unreachable!("a step of a process"),
        }
    }

    fn take_reading(&self, state: &mut State, process: usize, stale: bool) {
        let broker = self.reads(state, stale);
        if let Process::Leading(leading) = &mut state.processes[process] {
            leading.reading = Some(broker);
        }
    }

    /// The broker lets go of a connection. Of one whose process is gone it does so sooner or later, of a living one only
    /// when something breaks.
    fn drop_session(&self, state: &mut State, number: usize) {
        let (process, connection) = state.sessions[number];
        let holds = |is: &Process| match is {
            Process::Connected(held) | Process::Read(held, _) => *held == connection,
            Process::Leading(leading) => leading.connection == connection,
            Process::Down => false,
        };
        if holds(&state.processes[process]) {
            if state.drops == 0 {
                return;
            }
            state.drops -= 1;
        }
        state.sessions.remove(number);
        state.wire.retain(|(written, _)| *written != connection);
    }
}
