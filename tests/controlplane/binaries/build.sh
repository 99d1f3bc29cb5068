#!/usr/bin/env bash
# Builds the programs of a Kubernetes control plane from source, once, into a cache outside the checkout.
#
#   build.sh [core|helm|kueue|all]   build what is missing (default: core) and print one line per program
#   build.sh --print-dir             print the folder that holds the programs of this checkout's versions
#   build.sh --list [GROUP]          print the programs of a group, one a line
#
# core  etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, kwok
# helm  helm
# kueue kueue (only the benchmark that compares against it needs it)
#
# Where a program of the required version or newer is already on the machine (in $KUBEBUILDER_ASSETS or on PATH), it is
# linked instead of built. Versions come from the go.mod files beside this script; the folder's name is a hash of them,
# so two checkouts with different versions do not disturb each other.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kwok_version=v0.8.0
# Raise this when a change below must rebuild programs whose versions did not change.
recipe_version=1

core_programs=(etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kwok)
helm_programs=(helm)
kueue_programs=(kueue)

fail() {
  printf 'build.sh: %s\n' "$*" >&2
  exit 1
}

cache_root() {
  if [[ -n ${AMPACITY_CACHE:-} ]]; then
    printf '%s\n' "$AMPACITY_CACHE"
  elif [[ -n ${XDG_CACHE_HOME:-} ]]; then
    printf '%s/ampacity\n' "$XDG_CACHE_HOME"
  elif [[ -n ${HOME:-} ]]; then
    printf '%s/.cache/ampacity\n' "$HOME"
  else
    fail 'no cache folder: set AMPACITY_CACHE, XDG_CACHE_HOME or HOME'
  fi
}

# Reads stdin, prints the first 16 hex digits of its SHA-256.
short_hash() {
  if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -c1-16
}

programs_dir() {
  local hash
  hash=$({
    printf 'recipe %s kwok %s %s\n' "$recipe_version" "$kwok_version" "$(uname -sm)"
    cat "$here"/{kubernetes,helm,kueue}/go.{mod,sum}
  } | short_hash)
  printf '%s/bin/%s\n' "$(cache_root)" "$hash"
}

# The version a go.mod in folder $1 gives module $2.
module_version() {
  awk -v module="$2" '$1 == module && $2 ~ /^v/ {print $2; exit}
                      $1 == "require" && $2 == module {print $3; exit}' "$here/$1/go.mod"
}

required_version() {
  case $1 in
    etcd) module_version kubernetes go.etcd.io/etcd/server/v3 ;;
    kube-* | kubectl) module_version kubernetes k8s.io/kubernetes ;;
    kwok) printf '%s\n' "$kwok_version" ;;
    helm) module_version helm helm.sh/helm/v4 ;;
    kueue) module_version kueue sigs.k8s.io/kueue ;;
  esac
}

# The version the program $1 at path $2 reports, as vX.Y.Z; empty when it reports none.
reported_version() {
  local text
  case $1 in
    kubectl) text=$("$2" version --client 2>/dev/null) || true ;;
    helm) text=$("$2" version --short 2>/dev/null) || true ;;
    *) text=$("$2" --version 2>/dev/null) || true ;;
  esac
  # The first version it names: some go on to name the Go version they were built with.
  grep -oE '[0-9]+\.[0-9]+\.[0-9]+' <<<"$text" | sed -n '1s/^/v/p'
}

# Prints the path of a program that is already on the machine and new enough; fails when there is none.
existing_program() {
  local program=$1 candidate version required
  [[ $program != kueue ]] || return 1
  required=$(required_version "$program")
  for candidate in "${KUBEBUILDER_ASSETS:+$KUBEBUILDER_ASSETS/$program}" "$(command -v "$program" || true)"; do
    [[ -n $candidate && -x $candidate ]] || continue
    version=$(reported_version "$program" "$candidate")
    [[ -n $version ]] || continue
    # A new major version (helm 3 against 4) is another program; only a newer minor or patch will do.
    [[ ${version%%.*} == "${required%%.*}" ]] || continue
    if [[ $(printf '%s\n%s\n' "$required" "$version" | sort -V | head -n 1) == "$required" ]]; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  return 1
}

require_go() {
  command -v go >/dev/null ||
    fail "Go is not on PATH, and $1 $(required_version "$1") is not on the machine. Install Go 1.26 or newer, or put that $1 on PATH or in KUBEBUILDER_ASSETS."
  local have need
  have=$(GOTOOLCHAIN=local go env GOVERSION | sed 's/^go//')
  need=$(awk '$1 == "go" {print $2; exit}' "$here/kubernetes/go.mod")
  [[ $(printf '%s\n%s\n' "$need" "$have" | sort -V | head -n 1) == "$need" ]] ||
    fail "Go $have is too old to build $1: $need or newer is needed."
}

# Builds program $1 as file $2. Version flags: without them /version says v0.0.0, and Helm's kubeVersion gate refuses it.
build_program() {
  local program=$1 output=$2 version major minor package flags='-s -w'
  version=$(required_version "$program")
  export GOTOOLCHAIN=local CGO_ENABLED=0
  case $program in
    etcd)
      go -C "$here/kubernetes" build -trimpath -ldflags "$flags" -o "$output" go.etcd.io/etcd/server/v3 ;;
    kube-* | kubectl)
      IFS=. read -r major minor _ <<<"${version#v}"
      for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags+=" -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor"
        flags+=" -X $package.gitTreeState=clean"
      done
      go -C "$here/kubernetes" build -trimpath -ldflags "$flags" -o "$output" "k8s.io/kubernetes/cmd/$program" ;;
    kwok)
      flags+=" -X sigs.k8s.io/kwok/pkg/consts.Version=$version"
      GOBIN=$(dirname "$output") GOFLAGS="${GOFLAGS:-} -trimpath" \
        go install -ldflags "$flags" "sigs.k8s.io/kwok/cmd/kwok@$version" ;;
    helm)
      flags+=" -X helm.sh/helm/v4/internal/version.version=$version"
      go -C "$here/helm" build -trimpath -ldflags "$flags" -o "$output" helm.sh/helm/v4/cmd/helm ;;
    kueue)
      flags+=" -X sigs.k8s.io/kueue/pkg/version.GitVersion=$version"
      go -C "$here/kueue" build -trimpath -ldflags "$flags" -o "$output" sigs.k8s.io/kueue/cmd/kueue ;;
  esac
}

# Puts program $1 into folder $2 unless it is there, and says on one line what was done and how long it took.
provide_program() {
  local program=$1 dir=$2 found scratch started=$SECONDS
  if [[ -x $dir/$program ]]; then
    printf '%-24s %-9s present\n' "$program" "$(required_version "$program")"
    return
  fi
  rm -f "$dir/$program" # a link whose target went away
  if found=$(existing_program "$program"); then
    ln -s "$found" "$dir/$program"
    printf '%-24s %-9s from %s\n' "$program" "$(reported_version "$program" "$found")" "$found"
    return
  fi
  require_go "$program"
  scratch=$(mktemp -d "$dir/.building.XXXXXX")
  # shellcheck disable=SC2064 # the folder of now is meant
  trap "rm -rf '$scratch'" EXIT
  build_program "$program" "$scratch/$program" ||
    fail "building $program $(required_version "$program") failed; see the lines above (the first build downloads Go modules)"
  mv "$scratch/$program" "$dir/$program"
  rm -rf "$scratch"
  printf '%-24s %-9s built in %d s\n' "$program" "$(required_version "$program")" $((SECONDS - started))
}

group_programs() {
  case $1 in
    core) printf '%s\n' "${core_programs[@]}" ;;
    helm) printf '%s\n' "${helm_programs[@]}" ;;
    kueue) printf '%s\n' "${kueue_programs[@]}" ;;
    all) printf '%s\n' "${core_programs[@]}" "${helm_programs[@]}" "${kueue_programs[@]}" ;;
    *) fail "unknown group '$1': core, helm, kueue or all" ;;
  esac
}

main() {
  local dir program programs
  case ${1:-core} in
    --print-dir)
      programs_dir
      return ;;
    --list)
      group_programs "${2:-all}"
      return ;;
    -h | --help)
      sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
      return ;;
  esac
  programs=$(group_programs "${1:-core}")
  dir=$(programs_dir)
  mkdir -p "$dir"
  # One build at a time for each folder: another waits here, then finds the programs present.
  if command -v flock >/dev/null; then
    exec 9>"$dir/.lock"
    flock 9
    rm -rf "$dir"/.building.* # left by a build that was killed; the lock says that none is running
  fi
  for program in $programs; do
    provide_program "$program" "$dir" 9>&-
  done
  ln -sfn "$dir" "$(cache_root)/bin/current"
  printf 'programs in %s\n' "$dir"
}

main "$@"
