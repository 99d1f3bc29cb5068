mod amounts;
mod columns;
mod event;
mod inference;
mod lives;
mod names;
mod training;
