mod amounts;
mod columns;
mod event;
mod inference;
mod lives;
mod training;
