#!/usr/bin/env bash
# Has the image built, if no version of the present recipe is there. A build takes about half an hour; until the first
# one is done no machine can start.
#
#   image.sh             start it and go on
#   image.sh --wait      start it, wait for its end, remove the templates of older recipes
#   image.sh --rebuild   build the same recipe again, with today's security updates (with --wait if you like)
# shellcheck source=scripts/azure/common.sh
. "$(dirname "$0")/common.sh"
need AZURE_SUBSCRIPTION_ID AZURE_RESOURCE_GROUP NIGHTSHIFT_GALLERY NIGHTSHIFT_IMAGE_TEMPLATE

wait='' rebuild=''
for each in "$@"; do
  case $each in
    --wait) wait=1 ;;
    --rebuild) rebuild=1 ;;
    *) stop "unknown: $each" ;;
  esac
done

recipe=${NIGHTSHIFT_IMAGE_TEMPLATE#worker-}
templates="$(group)/providers/Microsoft.VirtualMachineImages/imageTemplates"
version() {
  az sig image-version list -g "$AZURE_RESOURCE_GROUP" --gallery-name "$NIGHTSHIFT_GALLERY" --gallery-image-definition worker \
    --query "[?tags.recipe=='$recipe' && provisioningState=='Succeeded'] | [-1].name" -o tsv
}
state() { arm get "$templates/$NIGHTSHIFT_IMAGE_TEMPLATE?api-version=2024-02-01" --query properties.lastRunStatus.runState -o tsv; }

remove_older() {
  az resource list -g "$AZURE_RESOURCE_GROUP" --resource-type Microsoft.VirtualMachineImages/imageTemplates \
    --query "[?name!='$NIGHTSHIFT_IMAGE_TEMPLATE'].name" -o tsv | while read -r old; do
    say "removing template $old"
    arm delete "$templates/$old?api-version=2024-02-01" -o none
  done
}

found=$(version)
if [ -n "$found" ] && [ -z "$rebuild" ]; then
  say "image version $found has this recipe"
  remove_older
  exit
fi
if [ "$(state)" != Running ]; then
  arm post "$templates/$NIGHTSHIFT_IMAGE_TEMPLATE/run?api-version=2024-02-01" -o none
  say "image build of recipe $recipe has begun; its state: scripts/azure/image.sh --wait"
fi
[ -n "$wait" ] || exit 0

for _ in $(seq 120); do # two hours; the template's own limit is shorter
  sleep 60
  case $(state) in
    Succeeded | PartiallySucceeded) say "image version $(version)"; remove_older; exit ;;
    Failed | Canceled)
      arm get "$templates/$NIGHTSHIFT_IMAGE_TEMPLATE?api-version=2024-02-01" --query properties.lastRunStatus.message -o tsv >&2
      stop 'the image was not built; machines go on with the version before' 'Its log is in the storage account of the group IT_...' ;;
  esac
done
stop 'the image build did not end'
