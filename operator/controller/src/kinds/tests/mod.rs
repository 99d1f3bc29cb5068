mod amounts;
mod event;
mod inference;
mod lives;
mod names;
mod training;
