#!/usr/bin/env bash
# Checks the shipped configuration as a person would find it, with fresh certificates, and runs the cases of the
# shipped policies.
set -euo pipefail
erpgate=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp -r gateway.toml policies "$folder"
"$erpgate" certificates --dir "$folder/certs" >/dev/null
"$erpgate" check --config "$folder/gateway.toml"
"$erpgate" policy test --config "$folder/gateway.toml"
