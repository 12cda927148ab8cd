#!/usr/bin/env bash
# Makes a plain Ubuntu 24.04 into a machine of Nightshift. Image Builder runs it as root, once a build.
#
#   install.sh RECIPE SOURCE      RECIPE: name of this recipe's content, SOURCE: URL of the worker's archive
#
# Nothing here is a secret, and nothing of a session: one image serves them all. What is not Ubuntu's own comes from
# repositories whose key has the fingerprint written here, or is named with its hash. No installer is piped to a shell.
set -euo pipefail

recipe=$1
source=$2
from=$(cd "$(dirname "$0")" && pwd)

UV=0.13.9
UV_HASH=sha256:d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19
PYTHON=3.13
NODE=22
PLAYWRIGHT=1.65.1
BROWSERS=/opt/browsers

export DEBIAN_FRONTEND=noninteractive
apt() { apt-get -qq -o DPkg::Lock::Timeout=300 "$@"; }

# key NAME URL FINGERPRINT...: the file at URL becomes the keyring NAME, if it has only keys of these fingerprints
key() {
  local name=$1 url=$2 file found
  shift 2
  file=$(mktemp)
  curl -fsSL --retry 3 "$url" -o "$file"
  found=$(gpg --show-keys --with-colons "$file" | awk -F: '$1 == "pub" { take = 1 } $1 == "fpr" && take { print $10; take = 0 }')
  for each in $found; do
    case " $* " in
      *" $each "*) ;;
      *) echo "$url has the key $each, which is not known here" >&2; exit 1 ;;
    esac
  done
  [ -n "$found" ] || { echo "$url has no key" >&2; exit 1; }
  gpg --dearmor < "$file" > "/etc/apt/keyrings/$name.gpg" 2>/dev/null || cp "$file" "/etc/apt/keyrings/$name.gpg"
  chmod 644 "/etc/apt/keyrings/$name.gpg"
  rm "$file"
}

echo "--- Ubuntu's own"
apt update
apt upgrade -y
apt install -y --no-install-recommends \
  acl ca-certificates curl gnupg sudo nftables \
  git git-lfs openssh-client jq ripgrep unzip zip zstd file less patch \
  build-essential pkg-config python3 python3-venv python3-pip \
  uidmap dbus-user-session slirp4netns fuse-overlayfs iptables

echo "--- Docker, Node.js, GitHub's command line"
install -d -m 755 /etc/apt/keyrings
key docker https://download.docker.com/linux/ubuntu/gpg 9DC858229FC7DD38854AE2D88D81803C0EBFCD88
key nodesource https://deb.nodesource.com/gpgkey/nodesource-repo.gpg.key 6F71F525282841EEDAF851B42F59B5F99B1BE0B4
key github https://cli.github.com/packages/githubcli-archive-keyring.gpg \
  2C6106201985B60E6C7AC87323F3D4EA75716059 7F38BBB59D064DBCB3D84D725612B36462313325
cat > /etc/apt/sources.list.d/nightshift.list <<LIST
deb [arch=amd64 signed-by=/etc/apt/keyrings/docker.gpg] https://download.docker.com/linux/ubuntu noble stable
deb [arch=amd64 signed-by=/etc/apt/keyrings/nodesource.gpg] https://deb.nodesource.com/node_$NODE.x nodistro main
deb [arch=amd64 signed-by=/etc/apt/keyrings/github.gpg] https://cli.github.com/packages stable main
LIST
apt update
apt install -y --no-install-recommends \
  docker-ce docker-ce-cli docker-ce-rootless-extras containerd.io docker-buildx-plugin docker-compose-plugin nodejs gh

echo "--- Users"
# nightshift runs the worker and may ask for the machine's identity. agent runs what the model says; it owns nothing of
# the control plane, is in no group that is as good as root, and cannot reach the metadata service (firewall.nft).
useradd --system --uid 801 --create-home --home-dir /var/lib/nightshift --shell /usr/sbin/nologin nightshift
useradd --uid 1001 --create-home --shell /bin/bash agent
chmod 700 /var/lib/nightshift
# Work lies in the agent's folder; the worker may read and write it too.
install -d -o agent -g agent -m 770 /home/agent/work
setfacl -m u:nightshift:x /home/agent
setfacl -R -m u:nightshift:rwx,d:u:nightshift:rwx,d:u:agent:rwx /home/agent/work
cat > /etc/sudoers.d/nightshift <<'SUDO'
# The worker becomes the agent, and nobody else.
nightshift ALL=(agent) NOPASSWD:SETENV: ALL
SUDO
chmod 440 /etc/sudoers.d/nightshift
visudo -cqf /etc/sudoers.d/nightshift

echo "--- Docker without root"
systemctl disable --now docker.service docker.socket containerd.service
loginctl enable-linger agent 2>/dev/null || { install -d /var/lib/systemd/linger && touch /var/lib/systemd/linger/agent; }
install -d -o agent -g agent /home/agent/.config/systemd/user/default.target.wants
install -o agent -g agent -m 644 "$from/docker.service" /home/agent/.config/systemd/user/docker.service
ln -sf ../docker.service /home/agent/.config/systemd/user/default.target.wants/docker.service
chown -Rh agent:agent /home/agent/.config
echo 'export DOCKER_HOST=unix:///run/user/1001/docker.sock' > /etc/profile.d/docker-rootless.sh

echo "--- Python and the worker's libraries"
python3 -m venv /opt/uv
printf 'uv==%s --hash=%s\n' "$UV" "$UV_HASH" > /tmp/uv.txt
/opt/uv/bin/pip install --quiet --only-binary :all: --require-hashes -r /tmp/uv.txt
ln -sf /opt/uv/bin/uv /opt/uv/bin/uvx /usr/local/bin/
export UV_PYTHON_INSTALL_DIR=/opt/python # uv knows the hash of each Python it fetches
uv --quiet python install "$PYTHON"
install -d /opt/nightshift/image
install -m 644 "$from/requirements.txt" /opt/nightshift/requirements.txt
uv --quiet venv --python "$PYTHON" /opt/nightshift/venv
uv --quiet pip install --python /opt/nightshift/venv/bin/python -r /opt/nightshift/requirements.txt

echo "--- A browser"
export PLAYWRIGHT_BROWSERS_PATH=$BROWSERS
npm install --silent --global "playwright@$PLAYWRIGHT"
playwright install --with-deps chromium
chmod -R a+rX "$BROWSERS"
echo "PLAYWRIGHT_BROWSERS_PATH=$BROWSERS" >> /etc/environment

echo "--- The worker's service"
install -m 755 "$from/boot.py" /opt/nightshift/boot.py
install -m 755 "$from/validate.sh" /opt/nightshift/image/validate.sh
install -m 644 "$from/firewall.nft" /etc/nightshift-firewall.nft
install -m 644 "$from/nightshift-worker.service" "$from/nightshift-firewall.service" /etc/systemd/system/
systemctl daemon-reload
systemctl enable nightshift-firewall.service nightshift-worker.service
printf '%s\n' "$source" > /opt/nightshift/source
printf '%s\n' "$recipe" > /opt/nightshift/recipe
chmod 644 /opt/nightshift/source /opt/nightshift/recipe

echo "--- Nobody logs in with a password, logs end, the image gets small"
printf 'PasswordAuthentication no\nPermitRootLogin no\n' > /etc/ssh/sshd_config.d/10-nightshift.conf
install -d /etc/systemd/journald.conf.d
printf '[Journal]\nSystemMaxUse=200M\n' > /etc/systemd/journald.conf.d/nightshift.conf
systemctl disable apt-daily.timer apt-daily-upgrade.timer # a machine lives for hours, and its image is what was tried
apt clean
rm -rf /var/lib/apt/lists/* /root/.cache /root/.npm /tmp/uv.txt /tmp/nightshift
