//! What of the machine the running stages leave to the next one: slots, cores, memory, devices.

use super::run::Options;
use crate::lang::ir::Node;
use crate::lang::value::Value;

/// The machine that a run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Cores of the processor.
    pub cores: usize,
    /// Bytes of memory.
    pub memory: u64,
}

impl Default for Machine {
    /// The cores that this process may use, and any amount of memory.
    fn default() -> Self {
        Self { cores: std::thread::available_parallelism().map_or(1, usize::from), memory: u64::MAX }
    }
}

/// What a stage's parameters ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Demand {
    pub cores: Option<usize>,
    /// Bytes.
    pub memory: u64,
}

impl Demand {
    pub fn of(node: &Node) -> Self {
        let value = |name: &str| node.parameters.get(name).map(|parameter| &parameter.value);
        let memory = match value("memory") {
            Some(Value::Bytes(bytes)) => *bytes,
            _ => 0,
        };
        let cores = value("cores").and_then(Value::as_int).and_then(|cores| usize::try_from(cores).ok());
        Self { cores, memory }
    }
}

/// What a running stage has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share {
    cores: usize,
    memory: u64,
    /// Threads it may use; none when it has the machine to itself.
    pub threads: Option<usize>,
    /// What it computes on: `cpu`, `cuda:1`.
    pub device: String,
}

/// Where CUDA reads which GPUs a process may see.
pub(super) const VISIBLE_GPUS: &str = "CUDA_VISIBLE_DEVICES";

impl Share {
    /// Cores that it has.
    pub fn cores(&self) -> usize {
        self.cores.max(1)
    }

    /// What its process calls the device: of GPUs it sees one only.
    pub fn device_of_child(&self) -> String {
        match self.device.split_once(':') {
            Some((kind, _)) => format!("{kind}:0"),
            None => self.device.clone(),
        }
    }

    /// The GPU to show to its process, as [`VISIBLE_GPUS`] has it, given those that this process sees: their first is `cuda:0`.
    pub fn visible_gpu(&self, seen: Option<&str>) -> Option<String> {
        let number = match self.device.split_once(':') {
            Some((_, number)) => number,
            None if self.device == "cpu" => return None,
            None => "0",
        };
        let place = number.parse().ok();
        let chosen = seen.filter(|seen| !seen.is_empty()).and_then(|seen| seen.split(',').nth(place?));
        Some(chosen.unwrap_or(number).trim().to_owned())
    }
}

/// What is free.
#[derive(Debug)]
pub(super) struct Slots {
    machine: Machine,
    jobs: usize,
    running: usize,
    cores: usize,
    memory: u64,
    /// Where a stage computes on the processor it shares it; a GPU has one stage at a time.
    devices: Option<Vec<String>>,
}

impl Slots {
    /// `device` is `cpu`, or one or more GPUs: `cuda:0,cuda:1`.
    pub fn new(options: &Options, device: &str) -> Self {
        let Machine { cores, memory } = options.machine;
        let devices = (device != "cpu").then(|| device.split(',').rev().map(str::to_owned).collect());
        Self { machine: options.machine, jobs: options.jobs.max(1), running: 0, cores, memory, devices }
    }

    /// Whether the machine could ever hold a stage.
    pub fn could_hold(&self, demand: Demand) -> bool {
        demand.memory <= self.machine.memory
    }

    /// Whether one more stage could begin at all.
    pub fn any(&self) -> bool {
        self.running < self.jobs && self.devices.as_ref().is_none_or(|free| !free.is_empty())
    }

    /// A share for a stage; `None` while others leave too little.
    pub fn take(&mut self, demand: Demand) -> Option<Share> {
        let alone = self.running == 0;
        let even = (self.machine.cores / self.jobs).max(1);
        let cores = demand.cores.unwrap_or(even).min(self.machine.cores);
        let fits = (cores <= self.cores || demand.cores.is_none()) && demand.memory <= self.memory;
        if !self.any() || !(fits || alone) {
            return None;
        }
        let device = match &mut self.devices {
            None => "cpu".to_owned(),
            Some(free) => free.pop()?,
        };
        self.running += 1;
        let cores = cores.min(self.cores);
        self.cores -= cores;
        let memory = demand.memory.min(self.memory);
        self.memory -= memory;
        let threads = (self.jobs > 1 || demand.cores.is_some()).then(|| cores.max(1));
        Some(Share { cores, memory, threads, device })
    }

    /// Lets a share hold one more stage, whose threads are those it has; false while there is too little memory.
    pub fn widen(&mut self, share: &mut Share, demand: Demand) -> bool {
        if demand.memory > self.memory {
            return false;
        }
        self.memory -= demand.memory;
        share.memory += demand.memory;
        true
    }

    pub fn give_back(&mut self, share: Share) {
        self.running -= 1;
        self.cores += share.cores;
        self.memory += share.memory;
        if let Some(free) = &mut self.devices {
            free.push(share.device);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn slots(jobs: usize, machine: Machine, device: &str) -> Slots {
        let options = Options {
            program: "ftp".into(),
            arguments: vec![],
            cancel: Arc::new(AtomicBool::new(false)),
            jobs,
            machine,
            keep_going: false,
            retries: 0,
            elsewhere: None,
            withheld: vec![],
            sweeps: false,
        };
        Slots::new(&options, device)
    }

    const MACHINE: Machine = Machine { cores: 8, memory: 100 };

    fn demand(cores: usize, memory: u64) -> Demand {
        Demand { cores: (cores > 0).then_some(cores), memory }
    }

    #[test]
    fn shares_never_add_up_to_more_than_the_machine() {
        let mut slots = slots(4, MACHINE, "cpu");
        let three = slots.take(demand(3, 60)).expect("there is room");
        assert_eq!(three.threads, Some(3));
        assert_eq!(slots.take(demand(6, 0)), None, "5 cores are left");
        assert_eq!(slots.take(demand(0, 50)), None, "40 bytes are left");
        let even = slots.take(demand(0, 40)).expect("it fits");
        assert_eq!(even.threads, Some(2), "a fourth of eight cores");
        slots.give_back(three);
        let six = slots.take(demand(6, 60)).expect("now there is room");
        slots.give_back(six);
        slots.give_back(even);
        assert_eq!((slots.cores, slots.memory, slots.running), (8, 100, 0));
    }

    #[test]
    fn a_stage_alone_has_the_machine_whatever_it_asks_for() {
        let mut slots = slots(1, MACHINE, "cpu");
        assert_eq!(slots.take(Demand::default()).expect("there is room").threads, None);
        assert_eq!(slots.take(Demand::default()), None);
        let mut slots = self::slots(2, MACHINE, "cpu");
        assert_eq!(slots.take(demand(64, 0)).expect("alone").threads, Some(8));
        assert!(!slots.could_hold(demand(0, 101)));
    }

    #[test]
    fn a_share_grows_with_the_memory_there_is() {
        let mut slots = slots(1, MACHINE, "cpu");
        let mut share = slots.take(demand(0, 40)).expect("there is room");
        assert!(slots.widen(&mut share, demand(0, 40)));
        assert!(!slots.widen(&mut share, demand(0, 40)), "20 bytes are left");
        slots.give_back(share);
        assert_eq!((slots.cores, slots.memory, slots.running), (8, 100, 0));
    }

    #[test]
    fn a_process_sees_the_gpu_of_its_share_only() {
        let share = |device: &str| Share { cores: 1, memory: 0, threads: None, device: device.into() };
        let seen = |device: &str, by_us| (share(device).visible_gpu(by_us), share(device).device_of_child());
        assert_eq!(seen("cuda:1", None), (Some("1".into()), "cuda:0".into()));
        // A batch system gave us two of its GPUs.
        assert_eq!(seen("cuda:1", Some("GPU-a, GPU-b")), (Some("GPU-b".into()), "cuda:0".into()));
        assert_eq!(seen("cuda", Some("3")), (Some("3".into()), "cuda".into()));
        assert_eq!(seen("cpu", Some("3")), (None, "cpu".into()));
    }

    #[test]
    fn a_gpu_has_one_stage_at_a_time() {
        let mut slots = slots(3, MACHINE, "cuda:0,cuda:2");
        let first = slots.take(Demand::default()).expect("there is room");
        let second = slots.take(Demand::default()).expect("there is room");
        assert_eq!((first.device.as_str(), second.device.as_str()), ("cuda:0", "cuda:2"));
        assert_eq!(slots.take(Demand::default()), None);
        slots.give_back(first);
        assert_eq!(slots.take(Demand::default()).expect("one is free again").device, "cuda:0");
    }
}
