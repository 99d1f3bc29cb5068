//! Manifests of the tests, as text: what a user would apply.

use ampacity_controlplane::SimulatedNode;

/// A node with eight H100, as a GPU operator labels it, in a rack.
pub fn h100(name: &str, rack: &str) -> SimulatedNode {
    SimulatedNode::new(name)
        .label("nvidia.com/gpu.product", "NVIDIA-H100-80GB-HBM3")
        .label("topology.kubernetes.io/zone", "hall-1")
        .label("topology.kubernetes.io/rack", rack)
        .resource("nvidia.com/gpu", "8")
        .resource("cpu", "192")
        .resource("memory", "2000Gi")
        .resource("pods", "110")
}

/// A node with one L4.
pub fn l4(name: &str) -> SimulatedNode {
    SimulatedNode::new(name)
        .label("nvidia.com/gpu.product", "NVIDIA-L4")
        .label("topology.kubernetes.io/zone", "zone-b")
        .resource("nvidia.com/gpu", "1")
        .resource("cpu", "16")
        .resource("memory", "64Gi")
        .resource("pods", "110")
}

/// What the tests' devices cost, for the provider `onprem`.
pub const PRICES: &str = r#"
apiVersion: ampacity.dev/v1alpha1
kind: PriceSheet
metadata: {name: test}
spec:
  provider: onprem
  source: the test
  effectiveFrom: "2026-01-01T00:00:00Z"
  owned:
  - {acceleratorType: nvidia-h100-sxm5-80gb, usdPerDeviceHour: "2.00"}
  - {acceleratorType: nvidia-l4, usdPerDeviceHour: "0.40"}
  electricity:
  - {region: hall, usdPerKwh: "0.10", pue: "1.2"}
  - {region: cheap, usdPerKwh: "0.01", pue: "1.1"}
"#;

/// A TrainingJob under construction.
#[derive(Clone, Debug)]
pub struct Training {
    name: String,
    replicas: u32,
    devices: u32,
    accelerator: String,
    annotations: Vec<(String, String)>,
    spec: Vec<String>,
}

impl Training {
    /// A job of one device that runs until it is deleted.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            replicas: 1,
            devices: 1,
            accelerator: "nvidia-h100-sxm5-80gb".to_owned(),
            annotations: Vec::new(),
            spec: Vec::new(),
        }
    }

    /// Replicas, and devices of each.
    #[must_use]
    pub fn gang(mut self, replicas: u32, devices: u32) -> Self {
        (self.replicas, self.devices) = (replicas, devices);
        self
    }

    /// The kind of device.
    #[must_use]
    pub fn on(mut self, accelerator: &str) -> Self {
        accelerator.clone_into(&mut self.accelerator);
        self
    }

    /// The simulated pods succeed after this time, such as `500ms`.
    #[must_use]
    pub fn lasting(self, duration: &str) -> Self {
        self.annotation("ampacity.dev/sim-duration", duration)
    }

    /// The simulated pods fail after this time.
    #[must_use]
    pub fn failing(self, duration: &str) -> Self {
        self.annotation("ampacity.dev/sim-duration", duration)
            .annotation("ampacity.dev/sim-fail", "true")
    }

    /// The simulated pods run after this time, as if their image had to be pulled.
    #[must_use]
    pub fn starting_after(self, delay: &str) -> Self {
        self.annotation("ampacity.dev/sim-start-delay", delay)
    }

    fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.push((key.to_owned(), value.to_owned()));
        self
    }

    /// One more line of the spec, such as `maxRestarts: 2`.
    #[must_use]
    pub fn with(mut self, line: &str) -> Self {
        self.spec.push(line.to_owned());
        self
    }

    /// The manifest.
    #[must_use]
    pub fn yaml(&self) -> String {
        let annotations: Vec<String> = self
            .annotations
            .iter()
            .map(|(key, value)| format!("{key}: \"{value}\""))
            .collect();
        let spec: String = self.spec.iter().map(|l| format!("  {l}\n")).collect();
        let has_duration = self.spec.iter().any(|l| l.starts_with("estimated"));
        let duration = if has_duration {
            ""
        } else {
            "  estimatedDurationSeconds: 3600\n"
        };
        format!(
            "apiVersion: ampacity.dev/v1alpha1
kind: TrainingJob
metadata: {{name: {name}, namespace: default}}
spec:
{duration}{spec}  template:
    metadata: {{annotations: {{{annotations}}}}}
    spec:
      restartPolicy: Never
      containers: [{{name: train, image: registry.example/train:1, resources: {{requests: {{cpu: \"1\", memory: 1Gi}}}}}}]
  alternatives:
  - {{name: only, acceleratorType: {accelerator}, devicesPerReplica: {devices}, replicas: {replicas}}}
",
            name = self.name,
            annotations = annotations.join(", "),
            accelerator = self.accelerator,
            devices = self.devices,
            replicas = self.replicas,
        )
    }
}

/// An InferenceJob of `replicas` on any of the kinds, one device each.
#[must_use]
pub fn inference(name: &str, replicas: u32, accelerators: &[&str]) -> String {
    let alternatives: String = accelerators
        .iter()
        .map(|a| format!("  - {{name: {a}, acceleratorType: {a}, devicesPerReplica: 1, throughput: \"10\"}}\n"))
        .collect();
    format!(
        "apiVersion: ampacity.dev/v1alpha1
kind: InferenceJob
metadata: {{name: {name}, namespace: default}}
spec:
  replicas: {replicas}
  template:
    spec:
      containers: [{{name: server, image: registry.example/server:1, ports: [{{name: http, containerPort: 8000}}]}}]
  alternatives:
{alternatives}"
    )
}
