#!/usr/bin/env bash
# After provisioning: secrets, sign-in, image.
# shellcheck source=scripts/azure/common.sh
. "$(dirname "$0")/common.sh"
here=$(dirname "$0")
"$here/secrets.sh"
[ "${NIGHTSHIFT_SIGN_IN:-}" != 1 ] || "$here/sign_in.sh" connect
"$here/image.sh"
