#!/usr/bin/env bash
# Builds the fuzz targets with coverage, on a stable toolchain, and runs each for its share of the time. Ends with 1 at the first
# input that panics, takes longer than FUZZ_TIMEOUT seconds or more than FUZZ_MEMORY_MIB; the input is kept and named.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

seconds=${FUZZ_SECONDS:-600}
timeout=${FUZZ_TIMEOUT:-10}
memory_mib=${FUZZ_MEMORY_MIB:-2048}
read -ra targets <<<"${FUZZ_TARGETS:-plan workload openb gavel}"
out=${CARGO_TARGET_DIR:-target}
work=${FUZZ_CORPUS:-$out/fuzz-corpus}
host=$(rustc --version --verbose | sed -n 's/^host: //p')

# What `cargo fuzz --sanitizer none` sets: counters on every edge and the operands of comparisons. No sanitizer, so no nightly.
# With --target, build scripts and macros are built without it; so is what writes the seeds, which has no libFuzzer to count for.
cargo run --quiet --package ampacity-fuzz --bin fuzz-seeds -- "$work/seeds"
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
cargo build --quiet --profile fuzz --target "$host" --package ampacity-fuzz --features libfuzzer "${targets[@]/#/--bin=fuzz-}"
programs="$out/$host/fuzz"

share=$((seconds / ${#targets[@]}))
for target in "${targets[@]}"; do
  mkdir -p "$work/corpus/$target" "$work/found/$target"
  log="$work/$target.log"
  echo "fuzz $target: $share s"
  if ! "$programs/fuzz-$target" "$work/corpus/$target" "$work/seeds/$target" \
    -dict="$work/seeds/words.dict" -artifact_prefix="$work/found/$target/" -max_total_time="$share" \
    -timeout="$timeout" -rss_limit_mb="$memory_mib" -max_len=65536 -len_control=0 -print_final_stats=1 >"$log" 2>&1; then
    tail -n 40 "$log"
    echo "fuzz $target: broke; see $log. Once mended, put the input into tests/fuzz/regressions/$target" >&2
    exit 1
  fi
  awk -v target="$target" '
    /^stat::number_of_executed_units/ { runs = $2 }
    /^stat::peak_rss_mb/ { rss = $2 }
    / cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") edges = $(i + 1) }
    END { printf "fuzz %s: %d runs, %d edges, at most %d MiB, nothing broke\n", target, runs, edges, rss }' "$log"
done
