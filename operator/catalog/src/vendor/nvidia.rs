//! NVIDIA GPUs.
//!
//! Sources: NVIDIA/k8s-device-plugin (README, docs/gpu-feature-discovery), the GPU Operator's gpu-sharing.rst, the DRA driver's
//! cmd/gpu-kubelet-plugin/deviceinfo.go, KubeVirt's vGPU documentation, GKE's node labels, CoreWeave's node labels, NVSentinel;
//! sharing layers: HAMi, Volcano's vGPU plugin, Alibaba's GPU share, Tencent's GPU manager.

pub(crate) mod mig;
pub(crate) mod product;

use ampacity_placement::Labels;

use self::mig::MigProfile;
use self::product::{ProductName, Sharing};
use super::aws;
use super::facts::{Fabric, FamilyFacts, Health, Sign};
use crate::evidence::{Clues, DeviceQuery, Evidence, Found};
use crate::part::{Cut, MAX_DEVICES_PER_NODE, NodeView, NotAskable, Offer, by_unit};
use crate::published::{Dra, PublishedDevice, PublishedKind};
use crate::resource::Unit;

const GPU: &str = "nvidia.com/gpu";
const SHARED_GPU: &str = "nvidia.com/gpu.shared";
const PRODUCT: &str = "nvidia.com/gpu.product";
const COUNT: &str = "nvidia.com/gpu.count";
const GKE_COUNT: &str = "cloud.google.com/gke-accelerator-count";
const REPLICAS: &str = "nvidia.com/gpu.replicas";
/// GKE's name of the device.
const GKE_ACCELERATOR: &str = "cloud.google.com/gke-accelerator";
/// The MIG profile that GKE cuts all devices of a node pool into.
const GKE_PARTITION: &str = "cloud.google.com/gke-gpu-partition-size";
/// GKE's time slices or MPS clients of a device.
const GKE_CLIENTS: &str = "cloud.google.com/gke-max-shared-clients-per-gpu";
/// CoreWeave's names of the device.
const COREWEAVE_NAMES: [&str; 2] = ["gpu.nvidia.com/model", "gpu.nvidia.com/class"];
/// Annotations by which HAMi's scheduler keeps a node's devices.
const HAMI: &str = "hami.io/node-";

pub(super) const GPUS: FamilyFacts = FamilyFacts {
    name: "nvidia",
    vendor: "nvidia",
    resources: &[
        (GPU, Unit::Device),
        (SHARED_GPU, Unit::TimeSlice),
        ("nvidia.com/gpu.*", Unit::Unlisted),
        ("nvidia.com/mig-*", Unit::Partition),
        // KubeVirt's vGPU resources carry the profile: nvidia.com/GRID_A100-4C, nvidia.com/NVIDIA_A16-4Q.
        ("nvidia.com/GRID_*", Unit::VirtualGpu),
        ("nvidia.com/NVIDIA_*", Unit::VirtualGpu),
        // KubeVirt and Kata name a device that is passed through by its chip: nvidia.com/GA102GL_A10, nvidia.com/TU104GL_Tesla_T4.
        ("nvidia.com/pgpu", Unit::PassedThrough),
        ("nvidia.com/GM2*_*", Unit::PassedThrough),
        ("nvidia.com/GP1*_*", Unit::PassedThrough),
        ("nvidia.com/GV1*_*", Unit::PassedThrough),
        ("nvidia.com/TU1*_*", Unit::PassedThrough),
        ("nvidia.com/GA1*_*", Unit::PassedThrough),
        ("nvidia.com/AD1*_*", Unit::PassedThrough),
        ("nvidia.com/GH1*_*", Unit::PassedThrough),
        ("nvidia.com/GB*_*", Unit::PassedThrough),
        ("nvidia.com/vgpu", Unit::VirtualGpu),
        ("nvidia.com/vgpu*", Unit::Unlisted),
        // HAMi.
        ("nvidia.com/gpumem*", Unit::Measure),
        ("nvidia.com/gpucores*", Unit::Measure),
        ("nvidia.com/priority", Unit::Measure),
        ("volcano.sh/vgpu-number", Unit::VirtualGpu),
        ("volcano.sh/vgpu-*", Unit::Measure),
        ("volcano.sh/gpu-*", Unit::Measure),
        ("aliyun.com/gpu-count", Unit::VirtualGpu),
        ("aliyun.com/gpu-*", Unit::Measure),
        ("tencent.com/vcuda-*", Unit::Measure),
    ],
    device_resources: &[GPU],
    most_devices,
    failed_starts: &[
        "nvidia-container-cli",
        "nvidia-container-runtime",
        "unresolvable CDI devices nvidia.com/",
    ],
    shareable_resources: &[GPU],
    dra: Dra {
        drivers: &["gpu.nvidia.com"],
        part_classes: &[mig::DEVICE_CLASS],
        pods: &[
            "*nvidia-dra-driver-gpu-kubelet-plugin-*",
            "*dra-driver-nvidia-gpu-kubelet-plugin-*",
        ],
        model: |device| device.text("productName"),
        id: Some("uuid"),
        parent_id: Some("parentUUID"),
        kind: published_kind,
        ..Dra::NONE
    },
    taint_keys: &[GPU],
    signs: &[
        Sign::Label(PRODUCT),
        Sign::Label("nvidia.com/gpu.present"),
        Sign::Label(GKE_ACCELERATOR),
        aws::KARPENTER_GPU,
        aws::EKS_GPU,
        Sign::Label(COREWEAVE_NAMES[0]),
        Sign::Label(COREWEAVE_NAMES[1]),
        Sign::Label("feature.node.kubernetes.io/pci-10de.present"),
    ],
    annotation_keys: &[HAMI],
    name_kinds: &["product", "gke", "coreweave", aws::NAMES],
    identify,
    // What the driver said about this very device is not overruled by what the instance type usually holds.
    trusts_instance_type: |query| query.model.is_none_or(|m| m.is_empty() || m == "Unknown"),
    device_memory_mib,
    cut,
    physical_devices: |node| Gpus(node).physical(),
    in_words,
    fabric: Fabric {
        // The second is what earlier versions of GPU feature discovery write.
        labels: &["nvidia.com/gpu.clique", "nvidia.com/gpu.imex-domain"],
        domain: gke_nvl72,
    },
    health: Health {
        // NVSentinel.
        faults: &[
            "SysLogsXIDError",
            "SysLogsSXIDError",
            "SysLogsGPUFallenOff",
            "GpuXidError",
            "GpuPcieWatch",
            "GpuNvlinkWatch",
            "GpuNvswitchFatalWatch",
            "GpuNvswitchNonfatalWatch",
            "GpuMemWatch",
            "GpuSmWatch",
            "GpuMcuWatch",
            "GpuPmuWatch",
            "GpuInforomWatch",
            "GpuThermalWatch",
            "GpuPowerWatch",
            "GpuDriverWatch",
            "GpuCudaWatch",
            // GKE's device plugin: an XID that its configuration calls critical.
            "XidCriticalError",
        ],
        end_work: &[
            "SysLogsXIDError",
            "SysLogsGPUFallenOff",
            "GpuXidError",
            "GpuNvswitchFatalWatch",
        ],
        bad_labels: &[
            (
                "dgxc.nvidia.com/nvsentinel-state",
                &[
                    "quarantined",
                    "draining",
                    "drain-succeeded",
                    "drain-failed",
                    "remediating",
                    "remediation-failed",
                ],
            ),
            ("k8saas.nvidia.com/cordon-by", &["*"]),
            // The GPU Operator's MIG manager.
            ("nvidia.com/mig.config.state", &["pending", "rebooting"]),
        ],
    },
    ..FamilyFacts::NONE
};

fn identify(query: &DeviceQuery<'_>, clues: &mut Clues) -> Found {
    let memory = query.memory_mib.or_else(|| label_memory_mib(query.labels));
    let product = |key: &str, text: &str, clues: &mut Clues| {
        let name = ProductName::parse(text);
        if name.sharing == Sharing::VirtualGpu {
            clues.seen.push(Evidence::new(key, text));
            return None;
        }
        clues.look_up("product", key, text, &name.base, memory)
    };
    if let Some(model) = query.model.filter(|m| !m.is_empty()) {
        // The driver names each device itself; labels would only speak for the node's first.
        return product("productName", model, clues);
    }
    if let Some(found) = query
        .labels
        .get(PRODUCT)
        .and_then(|text| product(PRODUCT, text, clues))
    {
        return Some(found);
    }
    if let Some(found) = query.labels.get(GKE_ACCELERATOR).and_then(|text| {
        clues.look_up(
            "gke",
            GKE_ACCELERATOR,
            text,
            &text.to_ascii_lowercase(),
            memory,
        )
    }) {
        return Some(found);
    }
    for key in COREWEAVE_NAMES {
        if let Some(found) = query.labels.get(key).and_then(|text| {
            let value = text.to_ascii_uppercase().replace(['-', ' '], "_");
            clues.look_up("coreweave", key, text, &value, memory)
        }) {
            return Some(found);
        }
    }
    aws::by_instance_labels(query, clues)
}

/// A board of SXM modules has 8 (DGX-2: 16), a GB200 or GB300 tray 4, a GH200 host 1 or 2. Cards: no server chassis, expansion
/// included, has more than 32.
fn most_devices(accelerator_type: &str) -> Option<u64> {
    const BY_NAME: [(&str, u64); 5] = [
        ("-gb200", 4),
        ("-gb300", 4),
        ("-gh200", 2),
        ("-v100-sxm", 16),
        ("-sxm", 8),
    ];
    let mut known = BY_NAME.iter();
    let board = known.find(|(part, _)| accelerator_type.contains(part));
    Some(board.map_or(32, |(_, most)| *most))
}

/// Memory of one device in MiB from labels; CoreWeave's `vram` is in GiB.
fn label_memory_mib(labels: &Labels) -> Option<u64> {
    let number = |key: &str| labels.get(key)?.parse::<u64>().ok();
    number("nvidia.com/gpu.memory").or_else(|| number("gpu.nvidia.com/vram")?.checked_mul(1024))
}

/// Labels speak of a whole device only where they name a product that is no MIG instance.
fn device_memory_mib(query: &DeviceQuery<'_>) -> Option<u64> {
    query.memory_mib.or_else(|| {
        let product = ProductName::parse(query.labels.get(PRODUCT)?);
        let is_whole = !matches!(product.sharing, Sharing::Mig(_));
        label_memory_mib(query.labels).filter(|_| is_whole)
    })
}

fn in_words(labels: &Labels, device: String) -> String {
    let product = labels.get(PRODUCT).map(|text| ProductName::parse(text));
    match product.map(|product| product.sharing) {
        None | Some(Sharing::Whole) => device,
        Some(Sharing::TimeSliced) => format!("time slices of {device}"),
        Some(Sharing::Mig(profile)) => format!("MIG {profile} instances of {device}"),
        Some(Sharing::VirtualGpu) => format!("virtual GPUs on {device}"),
    }
}

/// On A4X a subblock is one NVL72 domain of 18 nodes.
fn gke_nvl72(labels: &Labels) -> Option<String> {
    let accelerator = labels.get(GKE_ACCELERATOR)?;
    if !matches!(accelerator.as_str(), "nvidia-gb200" | "nvidia-gb300") {
        return None;
    }
    labels
        .get("cloud.google.com/gce-topology-subblock")
        .cloned()
}

fn published_kind(device: &dyn PublishedDevice) -> PublishedKind {
    let is_virtual = device
        .text("brand")
        .is_some_and(|brand| brand.starts_with("NvidiaV"))
        || device
            .text("productName")
            .is_some_and(|product| ProductName::parse(product).sharing == Sharing::VirtualGpu);
    match device.text("type").unwrap_or_default() {
        "gpu" | "" if is_virtual => PublishedKind::Split(NotAskable::VirtualGpu),
        "gpu" | "" => PublishedKind::Whole,
        "mig" => match device.text("profile").and_then(MigProfile::parse) {
            Some(profile) => PublishedKind::Mig(profile),
            None => PublishedKind::Split(NotAskable::Partitioned),
        },
        _ => PublishedKind::Other,
    }
}

fn cut(node: &NodeView<'_>, offer: &Offer<'_>, offers: &[Offer<'_>]) -> Result<Cut, NotAskable> {
    let gpus = Gpus(node);
    match offer.unit {
        Unit::Partition => gpus.mig_instance(offer),
        Unit::TimeSlice => {
            let whole = offers.iter().filter(|o| o.unit == Unit::Device);
            gpus.slice(offer, whole.map(|o| o.count.capacity).sum())
        }
        Unit::Device | Unit::DeviceAlias => gpus.device(offer, offers),
        _ => by_unit(node, offer, offers),
    }
}

/// A node as its labels describe it.
struct Gpus<'a>(&'a NodeView<'a>);

impl Gpus<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        self.0.labels.get(key).map(String::as_str)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.label(key)?.parse().ok()
    }

    fn sharing(&self) -> Option<Sharing> {
        Some(ProductName::parse(self.label(PRODUCT)?).sharing)
    }

    /// Time slices or MPS clients of a device, where a label tells.
    fn replicas(&self) -> Option<u64> {
        [REPLICAS, GKE_CLIENTS]
            .into_iter()
            .filter_map(|key| self.number(key))
            .find(|replicas| *replicas > 1)
    }

    /// Whether something says that devices are shared, if not among how many.
    fn is_sliced(&self) -> bool {
        let product = self.label(PRODUCT);
        self.replicas().is_some()
            || product.is_some_and(|p| p.trim().to_ascii_uppercase().ends_with("-SHARED"))
            || matches!(
                self.label("nvidia.com/gpu.sharing-strategy"),
                Some("time-slicing" | "mps")
            )
    }

    /// Whether the plain resource counts MIG instances (the single strategy, and GKE's partitions).
    fn is_mig(&self) -> bool {
        matches!(self.sharing(), Some(Sharing::Mig(_)))
            || self.label("nvidia.com/gpu.slices.gi").is_some()
            || self.gke_partition().is_some()
    }

    fn gke_partition(&self) -> Option<&str> {
        self.label(GKE_PARTITION).filter(|size| !size.is_empty())
    }

    /// Devices in the node. The label counts MIG instances where all devices are cut up in one way.
    fn physical(&self) -> Option<u64> {
        self.counted().map(|(devices, _)| devices)
    }

    /// The same, with what tells it.
    fn counted(&self) -> Option<(u64, &'static str)> {
        let by_label = self.number(COUNT).filter(|n| *n > 0 && !self.is_mig());
        let by_instance = || self.0.shape.map(|shape| u64::from(shape.devices));
        by_label
            .map(|n| (n, "label nvidia.com/gpu.count"))
            .or_else(|| Some((by_instance()?, "the instance type")))
            .or_else(|| {
                Some((
                    self.number(GKE_COUNT)?,
                    "label cloud.google.com/gke-accelerator-count",
                ))
            })
    }

    fn mig_instance(&self, offer: &Offer<'_>) -> Result<Cut, NotAskable> {
        let name = offer
            .resource
            .strip_prefix(mig::RESOURCE_PREFIX)
            .unwrap_or_default();
        // An instance that is shared again is a share of a share: nothing that a job can ask for.
        let shared = format!("{}.replicas", MigProfile::resource(name));
        if name.ends_with(".shared") || self.number(&shared).is_some_and(|n| n > 1) {
            return Err(NotAskable::TimeSliced);
        }
        let profile = MigProfile::parse(name).ok_or(NotAskable::Partitioned)?;
        Ok(Cut::Mig(profile))
    }

    /// `whole`: devices that are not shared beside those that are.
    fn slice(&self, offer: &Offer<'_>, whole: u64) -> Result<Cut, NotAskable> {
        let units = offer.count.capacity.max(offer.count.allocatable);
        let shared = self.physical().map(|n| n.saturating_sub(whole));
        let counted = || {
            let devices = shared.filter(|n| *n > 0)?;
            (units > devices && units.is_multiple_of(devices)).then(|| units / devices)
        };
        self.replicas()
            .or_else(counted)
            // More slices than the devices have: one of the numbers is wrong, and the slices are smaller than it says.
            .filter(|of| shared.is_none_or(|n| units <= n.saturating_mul(*of)))
            .and_then(Cut::slice)
            .ok_or(NotAskable::TimeSliced)
    }

    fn device(&self, offer: &Offer<'_>, offers: &[Offer<'_>]) -> Result<Cut, NotAskable> {
        if self.sharing() == Some(Sharing::VirtualGpu)
            || self.label("nvidia.com/vgpu.present") == Some("true")
            || self.0.shape.is_some_and(|shape| shape.is_fractional())
        {
            return Err(NotAskable::VirtualGpu);
        }
        if self.is_mig() {
            if self.is_sliced() {
                return Err(NotAskable::TimeSliced);
            }
            let profile = match self.sharing() {
                Some(Sharing::Mig(profile)) => MigProfile::parse(&profile),
                _ => self.gke_partition().and_then(MigProfile::parse),
            };
            return profile.map(Cut::Mig).ok_or(NotAskable::Partitioned);
        }
        // With renaming the slices are nvidia.com/gpu.shared, and what is left under the plain name is whole.
        let renamed = offers.iter().any(|o| o.resource == SHARED_GPU);
        if self.is_sliced() && !renamed {
            return self.slice(offer, 0);
        }
        let units = offer.count.capacity.max(offer.count.allocatable);
        let hami = self
            .0
            .annotations
            .into_iter()
            .flatten()
            .any(|(key, _)| key.starts_with(HAMI) && key.contains("nvidia"));
        if hami {
            return Err(NotAskable::VirtualGpu);
        }
        // Nothing says that they are shared: cards of which the labels count one model, or a plugin that counts them twice.
        let counted = self.counted().filter(|(there_are, _)| units > *there_are);
        if let Some((there_are, told_by)) = counted {
            return Err(NotAskable::Surplus { there_are, told_by });
        }
        if units > MAX_DEVICES_PER_NODE {
            return Err(NotAskable::Surplus {
                there_are: MAX_DEVICES_PER_NODE,
                told_by: "the largest machine there is",
            });
        }
        Ok(Cut::Whole)
    }
}
