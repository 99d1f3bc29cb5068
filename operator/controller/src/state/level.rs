//! Levels of the topology: the API's names to the engine's.

use ampacity_api::TopologyLevel;
use ampacity_placement::Level;

/// The engine's level of the same name.
pub fn engine_level(level: TopologyLevel) -> Level {
    match level {
        TopologyLevel::Node => Level::Node,
        TopologyLevel::NvlinkDomain => Level::NvlinkDomain,
        TopologyLevel::Rack => Level::Rack,
        TopologyLevel::Block => Level::Block,
        TopologyLevel::Zone => Level::Zone,
        TopologyLevel::Cluster => Level::Cluster,
    }
}
