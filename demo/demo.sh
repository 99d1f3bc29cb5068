#!/usr/bin/env bash
# A hub and two member clusters on this machine, with real control planes and simulated nodes, and Ampacity's operator between them.
#
#   demo.sh run        start all, apply docs/examples and demo/jobs, show what happens; fails unless every job gets where it should
#   demo.sh job FILE   apply FILE to the demo's hub (starting it if need be) and follow its jobs until they finish or run
#   demo.sh show       tables of clusters, jobs, placements, power and pods
#   demo.sh down       stop all and remove .demo
#
# At a terminal, run and job leave the clusters running, to look around in; without one (CI) they stop what they started.
# DEMO_KEEP=1 leaves them running, DEMO_KEEP=0 stops them, wherever it is run. DEMO_TIMEOUT: seconds to wait for the jobs (default 180).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

state=$PWD/.demo
hub_namespace=ampacity-system
clusters=(hub aws-east gcp-tokyo)
timeout_seconds=${DEMO_TIMEOUT:-180}
started_here=
# The jobs of the file given to `job`, as "kind namespace/name"; only they are followed.
wanted_jobs=()

# cluster/node kind in demo/nodes, and how many of it there are.
fleet=(
  "hub/dgx-station-a100 3"
  "hub/mi300x 3"
  "hub/gaudi2 1"
  "aws-east/p5-h100 2"
  "aws-east/p5-h100-spot 1"
  "aws-east/p4d-a100-spot 2"
  "aws-east/inf2 2"
  "gcp-tokyo/a3-mega-h100 2"
  "gcp-tokyo/l4-spot 2"
  "gcp-tokyo/tpu-v6e 4"
)

# kind namespace/name and the state it must reach.
expected=(
  "trainingjob default/first-job Succeeded"
  "trainingjob research/llama-8b-sft Running"
  "trainingjob research/protein-fold Running"
  "trainingjob research/long-context-eval Running"
  "trainingjob research/moe-gang Succeeded"
  "trainingjob research/spot-pretrain Succeeded"
  "trainingjob research/tpu-sweep Succeeded"
  "trainingjob research/nightly-sweep Pending"
  "inferencejob serving/chat Running"
)

bold='' plain=''
[[ ! -t 1 ]] || { bold=$'\033[1m' plain=$'\033[0m'; }

say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
note() { printf '  %s\n' "$*"; }
fail() {
  printf 'demo: %s\n' "$*" >&2
  exit 1
}

kubectl_in() {
  local cluster=$1
  shift
  "$binaries/kubectl" --kubeconfig "$state/$cluster/kubeconfig" "$@"
}
hub() { kubectl_in hub "$@"; }

# Whether the process whose id is in file $1 is one of ours, by its command line: ids are used again.
alive() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 1
  [[ -n $pid && -r /proc/$pid/cmdline && $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") == *"$state"* ]]
}

# Ends the process of pid file $1 and waits until it is gone: 20 s in order, then by force.
stop() {
  local pid i
  alive "$1" || { rm -f "$1"; return 0; }
  pid=$(cat "$1")
  kill -TERM "$pid" 2>/dev/null || true
  for ((i = 0; i < 200; i++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  rm -f "$1"
}

down() {
  local cluster
  stop "$state/operator.pid"
  for cluster in "${clusters[@]}"; do stop "$state/$cluster.pid"; done
  rm -rf "$state"
}

build() {
  command -v cargo >/dev/null || fail 'cargo is not on PATH: install Rust (https://rustup.rs)'
  say 'Building the control-plane programs (once; cached outside the checkout)'
  tests/controlplane/binaries/build.sh core | sed 's/^/  /'
  say 'Building ampacity'
  cargo build --quiet --package ampacity --package ampacity-controlplane
  binaries=$(tests/controlplane/binaries/build.sh --print-dir)
  target=$(cargo metadata --format-version 1 --no-deps | sed -E 's/.*"target_directory":"([^"]*)".*/\1/')/debug
}

# Starts program $2… in a session of its own, so that Ctrl-C here does not end it, with its id in $state/$1.pid and its output in $state/$1.log.
launch() {
  local name=$1
  shift
  if command -v setsid >/dev/null; then
    setsid "$@" >"$state/$name.log" 2>&1 </dev/null &
  else
    nohup "$@" >"$state/$name.log" 2>&1 </dev/null &
  fi
  echo $! >"$state/$name.pid"
  disown
}

# Waits for command $3… to succeed, at most $1 seconds; $2 says what is waited for.
await() {
  local seconds=$1 what=$2 end
  shift 2
  end=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || return 1
    sleep 0.2
  done
}

start_clusters() {
  local cluster
  say 'Starting a hub and two member clusters'
  for cluster in "${clusters[@]}"; do
    launch "$cluster" "$target/ampacity-controlplane" up --name "$cluster" --dir "$state/$cluster"
  done
  for cluster in "${clusters[@]}"; do
    if ! await 90 "$cluster" test -s "$state/$cluster/ready"; then
      tail -n 20 "$state/$cluster.log" >&2
      fail "cluster $cluster did not get ready in 90 s; its logs are in $state/$cluster"
    fi
    note "$cluster at $(cat "$state/$cluster/ready")"
  done
}

start_nodes() {
  local entry path count i
  say 'Nodes, reduced from real ones (demo/nodes names each source)'
  for entry in "${fleet[@]}"; do
    read -r path count <<<"$entry"
    for ((i = 1; i <= count; i++)); do
      printf -- '---\n'
      sed "s/@N@/$i/g" "demo/nodes/$path.yaml"
    done | kubectl_in "${path%%/*}" create -f - >/dev/null
    note "$(printf '%-10s %d × %s' "${path%%/*}" "$count" "${path#*/}")"
  done
}

register() {
  local cluster
  say 'Installing the CRDs and registering the clusters'
  "$target/ampacity" crds | hub apply --server-side -f - >/dev/null
  hub wait --for condition=Established --timeout 30s crd -l '!none' >/dev/null
  hub create namespace "$hub_namespace" >/dev/null
  for cluster in "${clusters[@]:1}"; do
    hub --namespace "$hub_namespace" create secret generic "$cluster" --from-file "kubeconfig=$state/$cluster/kubeconfig" >/dev/null
  done
  hub apply -f docs/examples/membercluster.yaml -f demo/clusters/members.yaml | sed 's/^/  /'
}

start_operator() {
  say 'Starting the operator'
  KUBECONFIG=$state/hub/kubeconfig RUST_LOG=${RUST_LOG:-info} \
    launch operator "$target/ampacity" operator --kubeconfig "$state/hub/kubeconfig" --namespace "$hub_namespace"
  local cluster
  for cluster in "${clusters[@]}"; do
    if ! await 60 "$cluster" reachable "$cluster"; then
      tail -n 20 "$state/operator.log" >&2
      hub get memberclusters -o wide || true
      fail "cluster $cluster is not Reachable after 60 s; the operator's log is $state/operator.log"
    fi
  done
  hub get memberclusters | sed 's/^/  /'
}

reachable() {
  [[ $(hub get membercluster "$1" -o jsonpath='{.status.conditions[?(@.type=="Reachable")].status}') == True ]]
}

# Whether all clusters of an earlier run are there and answer.
clusters_run() {
  local cluster
  for cluster in "${clusters[@]}"; do
    alive "$state/$cluster.pid" && kubectl_in "$cluster" get --raw /readyz >/dev/null 2>&1 || return 1
  done
}

up() {
  build
  if clusters_run; then
    if alive "$state/operator.pid"; then
      say 'The demo is running already'
      return
    fi
    # Jobs and their history stay as they are: an operator takes up where an earlier one was.
    say "The demo's operator has ended; its log is $state/operator.log.ended"
    mv -f "$state/operator.log" "$state/operator.log.ended" 2>/dev/null || true
    start_operator
    return
  fi
  if alive "$state/hub.pid"; then
    note 'not all clusters of the demo that runs answer: it is started anew, without its jobs'
  fi
  down # whatever an earlier run left
  mkdir -p "$state"
  started_here=1
  start_clusters
  start_nodes
  register
  start_operator
}

# One line for every job: kind namespace/name state, then where it is and what it costs.
job_lines() {
  hub get trainingjobs,inferencejobs --all-namespaces --no-headers -o custom-columns="$(columns)" 2>/dev/null |
    awk '{kind = tolower($1); $1 = ""; sub(/^ /, ""); line = $1 "/" $2; $1 = ""; $2 = ""; sub(/^ +/, ""); print kind, line, $0}'
}
columns() {
  printf '%s' 'K:.kind,NS:.metadata.namespace,N:.metadata.name,S:.status.state'
  printf '%s' ',C:.status.placement.cluster,A:.status.placement.acceleratorType,D:.status.placement.devices'
  printf '%s' ',W:.status.placement.watts,U:.status.placement.usdPerHour'
}

# Prints every change of a job as it happens, until function $1 says that all is as it should be, or time is up.
follow() {
  local done_when=$1 begin=$SECONDS lines kind job state_ cluster accelerator devices watts usd
  local -A seen=()
  while :; do
    lines=$(job_lines)
    while read -r kind job state_ cluster accelerator devices watts usd; do
      [[ -n ${kind:-} && $state_ != '<none>' ]] || continue
      [[ ${seen[$kind $job]:-} != "$state_ $cluster" ]] || continue
      ((${#wanted_jobs[@]} == 0)) || [[ " ${wanted_jobs[*]} " == *" $kind $job "* ]] || continue
      seen[$kind $job]="$state_ $cluster"
      if [[ $cluster == '<none>' ]]; then
        printf '  %3d s  %-28s %s\n' $((SECONDS - begin)) "$job" "$state_"
      else
        printf '  %3d s  %-28s %-10s %s × %s in %s, %s W, %s USD/h\n' \
          $((SECONDS - begin)) "$job" "$state_" "$devices" "$accelerator" "$cluster" "$watts" "$usd"
      fi
    done <<<"$lines"
    "$done_when" "$lines" && return 0
    ((SECONDS - begin < timeout_seconds)) || return 1
    sleep 1
  done
}

# Whether the lines in $1 show every expected state. A pending job must also say why.
all_as_expected() {
  local want kind job state_ verdict
  for want in "${expected[@]}"; do
    read -r kind job state_ <<<"$want"
    grep -q "^$kind $job $state_\b" <<<"$1" || return 1
    if [[ $state_ == Pending ]]; then
      verdict=$(hub -n "${job%%/*}" get "$kind" "${job#*/}" -o jsonpath='{.status.verdict.reasons[*].reason}')
      [[ -n $verdict ]] || return 1
    fi
  done
}

show() {
  local cluster
  say 'Clusters'
  hub get memberclusters
  say 'Jobs'
  hub get trainingjobs --all-namespaces
  printf '\n'
  hub get inferencejobs --all-namespaces
  say 'Placements (decisions in force)'
  hub get placements --all-namespaces
  say 'Power'
  hub get powerdomains
  printf '\n'
  hub get powerbudgets
  for cluster in "${clusters[@]}"; do
    say "Pods in $cluster"
    kubectl_in "$cluster" get pods --all-namespaces -o wide \
      -o custom-columns='NAMESPACE:.metadata.namespace,POD:.metadata.name,NODE:.spec.nodeName,PHASE:.status.phase'
  done
}

show_verdict() {
  say 'Why research/nightly-sweep waits'
  hub -n research get trainingjob nightly-sweep \
    -o jsonpath='{range .status.verdict.reasons[*]}{"  "}{.reason}{": "}{.message}{"\n"}{end}{"  Fix: "}{.status.verdict.fix.message}{"\n"}'
}

keep() {
  case ${DEMO_KEEP:-} in
    1 | true | yes) return 0 ;;
    0 | false | no) return 1 ;;
    *) [[ -t 0 && -t 1 ]] ;;
  esac
}

# Leaves the clusters running for a person, with how to look around, or stops what this run started.
finish() {
  if keep; then
    say 'The clusters keep running. Look around:'
    note "export PATH=$binaries:\$PATH KUBECONFIG=$state/hub/kubeconfig"
    note 'kubectl get trainingjobs,inferencejobs,placements -A'
    note 'make job FILE=docs/examples/first-job.yaml    # a job of your own'
    note "members: KUBECONFIG=$state/aws-east/kubeconfig, $state/gcp-tokyo/kubeconfig; operator log: $state/operator.log"
    note 'make demo-down                                # stop all'
  elif [[ -n $started_here ]]; then
    say 'Stopping (DEMO_KEEP=1 leaves the clusters running)'
    down
  fi
}

# What the jobs rely on goes first: a job that is there before the prices is placed by the prices that are there.
apply_facts() {
  local file
  for file in 00-namespaces priorityclasses power pricesheet-aws pricesheet-gcp pricesheet-onprem; do
    hub apply -f "docs/examples/$file.yaml"
  done
}

run() {
  up
  say 'Applying what things cost and may draw (docs/examples)'
  apply_facts | sed 's/^/  /'
  say 'Applying jobs (docs/examples and demo/jobs)'
  hub apply -f docs/examples -f demo/jobs |
    awk '/ unchanged$/ {next} {print "  " $0; changed = 1} END {if (!changed) print "  nothing has changed"}'
  say 'What happens'
  if ! follow all_as_expected; then
    show
    show_verdict || true
    printf '\n'
    report_missing
    note "operator log: $state/operator.log"
    started_here='' # the evidence stays
    fail "not every job got where it should in $timeout_seconds s (make demo-down stops the clusters)"
  fi
  show
  show_verdict
  finish
}

report_missing() {
  local want kind job state_ lines
  lines=$(job_lines)
  for want in "${expected[@]}"; do
    read -r kind job state_ <<<"$want"
    grep -q "^$kind $job $state_\b" <<<"$lines" ||
      note "$job should be $state_, is $(awk -v job="$job" '$2 == job {print $3}' <<<"$lines")"
  done
}

settled() {
  local job
  for job in "${wanted_jobs[@]}"; do
    grep -qE "^$job (Succeeded|Failed)\b" <<<"$1" || grep -qE "^inferencejob ${job#* } Running\b" <<<"$1" || return 1
  done
}

# Deletes the TrainingJobs of file $1 that have finished before, so that applying it runs them again.
forget_finished() {
  local kind name state_
  while read -r kind name state_; do
    [[ $kind == TrainingJob && ($state_ == Succeeded || $state_ == Failed) ]] || continue
    note "$name has finished before: it is run anew"
    hub -n "${name%%/*}" delete trainingjob "${name#*/}" >/dev/null
  done < <(hub get -f "$1" --ignore-not-found --no-headers \
    -o custom-columns='K:.kind,N:.metadata.namespace,M:.metadata.name,S:.status.state' | awk '{print $1, $2 "/" $3, $4}')
}

job() {
  local file=$1 text
  [[ -r $file ]] || fail "no such file: $file"
  file=$(realpath "$file")
  up
  apply_facts >/dev/null
  forget_finished "$file"
  say "Applying $file"
  hub apply -f "$file" | sed 's/^/  /'
  text=$(hub get -f "$file" --no-headers -o custom-columns='K:.kind,NS:.metadata.namespace,N:.metadata.name')
  mapfile -t wanted_jobs < <(awk '$1 ~ /^(Training|Inference)Job$/ {print tolower($1), $2 "/" $3}' <<<"$text")
  ((${#wanted_jobs[@]})) || fail "$file holds no TrainingJob and no InferenceJob"
  say 'What happens'
  if ! follow settled; then
    note "not finished after $timeout_seconds s; a job whose pods carry no ampacity.dev/sim-duration annotation runs for ever here"
  fi
  printf '\n'
  hub get -f "$file" -o wide
  finish
}

# Ctrl-C: nothing that was started here stays, unless it was asked for.
interrupted() {
  trap - INT TERM
  printf '\n'
  if [[ -n $started_here && ${DEMO_KEEP:-} != 1 ]]; then
    say 'Interrupted: stopping'
    down
  fi
  exit 130
}

main() {
  trap interrupted INT TERM
  case ${1:-run} in
    run) run ;;
    job) job "${2:?demo.sh job FILE}" ;;
    show | down)
      binaries=$(tests/controlplane/binaries/build.sh --print-dir)
      "$1"
      ;;
    *)
      sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
      exit 64
      ;;
  esac
}
main "$@"
