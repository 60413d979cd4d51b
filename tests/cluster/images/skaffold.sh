#!/usr/bin/env bash
# Build skaffold out of Go modules into $CACHE/bin, once per machine. Its go.mod replaces modules, which `go install` refuses:
# so it is built from a module of our own that repeats those lines.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
VERSION="${SKAFFOLD_VERSION:-2.16.1}"
[ -x "$CACHE/bin/skaffold" ] && [ "$("$CACHE/bin/skaffold" version 2>/dev/null)" = "v$VERSION" ] && exit
path=github.com/GoogleContainerTools/skaffold/v2
work="$CACHE/src/skaffold"
mkdir -p "$CACHE/bin" "$work"
cd "$work"
rm -f go.sum
printf 'module cluster/skaffold\n\ngo 1.24.1\n' >go.mod
mod=$(go mod download -json "$path@v$VERSION" | jq -r .GoMod)
{
  printf 'module cluster/skaffold\n\ngo 1.24.1\n\nrequire %s v%s\n\n' "$path" "$VERSION"
  grep '^replace' "$mod"
} >go.mod
export CGO_ENABLED=0 GOFLAGS="-mod=mod -buildvcs=false -trimpath"
nice -n 15 go build -p 2 -ldflags "-s -w -X $path/pkg/skaffold/version.version=v$VERSION" -o "$CACHE/bin/skaffold" "$path/cmd/skaffold"
"$CACHE/bin/skaffold" version
