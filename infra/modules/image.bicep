// The image that machines start from: a gallery, one definition, and the template that builds its versions.
param location string
param tags object
param token string
@description('Copies in the region: each serves about 20 machines that start at the same time.')
param replicas int
@description('Where machines get the source of the worker.')
param workerSource string
param builderId string
param builderPrincipalId string
param publisherRoleId string

// The whole recipe. Azure does not change a template's steps in place, so a changed recipe is a template of another name;
// scripts/azure/image.sh builds it and removes those before it.
var recipe = [
  { name: 'install.sh', content: loadFileAsBase64('../image/install.sh') }
  { name: 'validate.sh', content: loadFileAsBase64('../image/validate.sh') }
  { name: 'requirements.txt', content: loadFileAsBase64('../../requirements.txt') }
  { name: 'boot.py', content: loadFileAsBase64('../image/files/boot.py') }
  { name: 'nightshift-worker.service', content: loadFileAsBase64('../image/files/nightshift-worker.service') }
  { name: 'nightshift-firewall.service', content: loadFileAsBase64('../image/files/nightshift-firewall.service') }
  { name: 'firewall.nft', content: loadFileAsBase64('../image/files/firewall.nft') }
  { name: 'docker.service', content: loadFileAsBase64('../image/files/docker.service') }
]
var version = uniqueString(string(recipe), workerSource)
var unpack = [for file in recipe: 'echo ${file.content} | base64 -d > /tmp/nightshift/${file.name}']

resource gallery 'Microsoft.Compute/galleries@2024-03-03' = {
  name: 'gal${token}'
  location: location
  tags: tags
  properties: { description: 'Images of Nightshift machines.' }
}

resource definition 'Microsoft.Compute/galleries/images@2024-03-03' = {
  parent: gallery
  name: 'worker'
  location: location
  tags: tags
  properties: {
    osType: 'Linux'
    osState: 'Generalized'
    hyperVGeneration: 'V2'
    architecture: 'x64'
    identifier: {
      publisher: 'nightshift'
      offer: 'worker'
      sku: 'ubuntu-24_04'
    }
    features: [
      { name: 'SecurityType', value: 'TrustedLaunchSupported' }
      { name: 'IsAcceleratedNetworkSupported', value: 'True' }
      { name: 'DiskControllerTypes', value: 'SCSI, NVMe' }
    ]
  }
}

resource publish 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: gallery
  name: guid(gallery.id, builderPrincipalId, publisherRoleId)
  properties: {
    principalId: builderPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: publisherRoleId
  }
}

// It builds in a group and network of its own that Image Builder makes and removes: a build runs other people's
// installers as root, and nothing of ours is within its reach.
resource template 'Microsoft.VirtualMachineImages/imageTemplates@2025-10-01' = {
  name: 'worker-${version}'
  location: location
  tags: tags
  dependsOn: [publish]
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${builderId}': {} }
  }
  properties: {
    buildTimeoutInMinutes: 90
    vmProfile: {
      vmSize: 'Standard_D2s_v5'
      osDiskSizeGB: 32
    }
    source: {
      type: 'PlatformImage'
      publisher: 'Canonical'
      offer: 'ubuntu-24_04-lts'
      sku: 'server'
      version: 'latest' // with all security updates of the day it is built
    }
    customize: [
      {
        type: 'Shell'
        name: 'unpack'
        inline: concat(['mkdir -p /tmp/nightshift'], unpack)
      }
      {
        type: 'Shell'
        name: 'install'
        inline: ['sudo bash /tmp/nightshift/install.sh ${version} ${workerSource}']
      }
    ]
    // Runs on a machine started from the new image. If it fails there is no new version, and machines keep the old one.
    validate: {
      continueDistributeOnFailure: false
      inVMValidations: [
        {
          type: 'Shell'
          name: 'validate'
          inline: ['sudo bash /opt/nightshift/image/validate.sh ${version}']
        }
      ]
    }
    optimize: {
      vmBoot: { state: 'Enabled' }
    }
    errorHandling: {
      onCustomizerError: 'cleanup'
      onValidationError: 'cleanup'
    }
    distribute: [
      {
        type: 'SharedImage'
        runOutputName: 'worker'
        galleryImageId: definition.id
        versioning: {
          scheme: 'Latest' // the next number; machines take the newest, so that no number is written down anywhere
          major: 1
        }
        targetRegions: [
          {
            name: location
            replicaCount: replicas
            storageAccountType: 'Standard_LRS'
          }
        ]
        artifactTags: { recipe: version }
      }
    ]
  }
}

output galleryName string = gallery.name
output definitionId string = definition.id
output templateName string = template.name
