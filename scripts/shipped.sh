#!/usr/bin/env bash
# Checks the shipped configuration as a person would find it: with fresh certificates.
set -euo pipefail
erpgate=$(realpath "$1")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp gateway.toml "$folder"
"$erpgate" certificates --dir "$folder/certs" >/dev/null
"$erpgate" check --config "$folder/gateway.toml"
