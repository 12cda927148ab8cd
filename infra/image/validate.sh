#!/usr/bin/env bash
# The image's test: Image Builder runs it as root on a machine that was started from the new image. Whatever fails here,
# no version is published and machines go on with the one before.
#
#   validate.sh RECIPE
# shellcheck disable=SC2016,SC2317  # commands are handed to `check`, or to a shell of another user
set -euo pipefail

failed=0
# check WHAT COMMAND...
check() {
  local what=$1
  shift
  if "$@" >/tmp/check.log 2>&1; then
    echo "ok      $what"
  else
    echo "FAILED  $what"
    sed 's/^/        /' /tmp/check.log | tail -5
    failed=1
  fi
}
refused() { ! "$@"; }
as() { sudo -n -u "$1" -i -- "${@:2}"; }
metadata() { sudo -n -u "$1" curl -s -m 5 -o /dev/null -H Metadata:true 'http://169.254.169.254/metadata/instance?api-version=2021-12-13'; }

check 'the recipe is this one' grep -qx "$1" /opt/nightshift/recipe
check 'the worker has a source' grep -qE '^https://' /opt/nightshift/source

for tool in git gh rg jq node npm uv uvx docker python3; do
  check "agent has $tool" as agent "$tool" --version
done
check 'Python 3.13' /opt/nightshift/venv/bin/python -c 'import sys; assert sys.version_info[:2] == (3, 13)'
check 'the agent may run it, too' as agent "$(readlink -f /opt/nightshift/venv/bin/python)" -I -S -c 'import glob; glob.translate'
check 'libraries of the worker' /opt/nightshift/venv/bin/python -c 'import azure.identity, httpx, openai, pydantic, websockets'
check 'the browser starts' as agent bash -c "NODE_PATH=\$(npm root -g) PLAYWRIGHT_BROWSERS_PATH=/opt/browsers node -e \"require('playwright').chromium.launch().then(b => b.close())\""

check 'units are sound' systemd-analyze verify /etc/systemd/system/nightshift-worker.service /etc/systemd/system/nightshift-firewall.service
check 'the worker starts at boot' systemctl is-enabled --quiet nightshift-worker.service
check 'the firewall is up' systemctl is-active --quiet nightshift-firewall.service
check 'the worker may ask the metadata service' metadata nightshift
check 'the agent may not' refused metadata agent

check 'the worker becomes the agent' sudo -n -u nightshift sudo -n -u agent true
check 'the worker does not become root' refused sudo -n -u nightshift sudo -n true
check 'the agent becomes nobody' refused sudo -n -u agent sudo -n true
check 'the agent is in no group' test "$(id -nG agent)" = agent
check 'the agent cannot read the worker' refused sudo -n -u agent ls /var/lib/nightshift
check 'worker and agent share the work' sudo -n -u nightshift bash -c 'f=/home/agent/work/probe && echo 1 > $f && sudo -n -u agent bash -c "echo 2 >> $f && rm $f"'
check 'no Docker as root' refused systemctl is-active --quiet docker.service
check 'Docker as agent' as agent bash -c 'for i in $(seq 30); do DOCKER_HOST=unix:///run/user/1001/docker.sock docker info >/dev/null 2>&1 && exit 0; sleep 1; done; exit 1'

exit $failed
