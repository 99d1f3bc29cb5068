//! Why a job was not placed, and what would help: the verdict with a typed reason per candidate, and the smallest fix. Uses
//! `nodes`, `candidates` and `fleet`, on which it tries changes that it takes back.

mod diagnosis;
mod fix;
mod limits;
mod parts;
mod reasons;
mod shortage;
mod verdict;

pub(crate) use reasons::MOST_REASONS;
