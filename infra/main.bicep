// Everything Nightshift needs in one subscription. Read with docs/azure.md, which has the table of roles and of prices.
//
// Two resource groups: one for what stays, one for what comes and goes. The machines have a group of their own, so that
// the right to create and delete virtual machines ends at its border.
targetScope = 'subscription'

// What differs between environments: infra/environments/*.json, whose meaning docs/azure.md explains.
type Size = {
  addresses: object
  alwaysReady: int
  maximumInstances: int
  instanceMemoryMB: int
  zoneRedundant: bool
  cosmosMaximumRUs: int
  cosmosBackup: string
  storageSku: string
  schedulerSku: string
  schedulerCapacity: int
  pubSubUnits: int
  model: string
  models: array
  machineSizes: array
  machineZones: array
  machineSpot: bool
  imageReplicas: int
  logRetentionDays: int
  logDailyCapGB: int
  monthlyBudget: int
  purgeProtection: bool
  settings: object
}

@description('Name of the azd environment. Part of every name and tag.')
@minLength(1)
@maxLength(20)
param environmentName string

@description('Region of everything but, if it says so, the models.')
param location string

@description('Region of the model account; not every region has every model.')
param modelLocation string = location

@description('Sizes and limits of this environment.')
param size Size

@description('The task hub: Durable Task Scheduler, or the storage account of the app.')
@allowed(['scheduler', 'storage'])
param taskHub string = 'scheduler'

@description('Whether the scheduler is reached by a private endpoint. If not, only by the address of the NAT gateway.')
param privateScheduler bool = true

@description('Application (client) id of the Entra ID registration for sign-in. Empty: no sign-in, API keys only.')
param entraClientId string = ''

@description('Addresses (CIDR) that may call the app. Empty: all; whoever calls must be known to it anyway.')
param allowedAddresses array = []

@description('Object id of who deploys: may upload the source of the worker, nothing else. Empty: nobody.')
param deployerPrincipalId string = ''

@description('GitHub REST API. GitHub Enterprise: https://HOST/api/v3')
param gitHubApiUrl string = 'https://api.github.com'

@description('Id of the GitHub App. Empty: the token in the vault is used.')
param gitHubAppId string = ''

@description('Who is told by mail what the alerts say.')
param alertEmails array = []

@description('A webhook that is told too, such as that of a chat. Its address often is a secret.')
@secure()
param alertWebhook string = ''

@description('First day of the month from which the budget counts. Azure refuses to move it later.')
param budgetStart string

var token = uniqueString(subscription().id, environmentName, location)
var hubName = 'nightshift' // host.json names the same; tests/infra compares them
var tags = {
  application: 'nightshift'
  environment: environmentName
}

// Only this group has azd's tag: it looks for the app by it and must find one group.
resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-nightshift-${environmentName}'
  location: location
  tags: union(tags, { 'azd-env-name': environmentName })
}

resource machineGroup 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-nightshift-${environmentName}-machines'
  location: location
  tags: tags
}

module identities 'modules/identities.bicep' = {
  scope: group
  name: 'identities'
  params: { location: location, tags: tags, environmentName: environmentName }
}

module network 'modules/network.bicep' = {
  scope: group
  name: 'network'
  params: {
    location: location
    tags: tags
    token: token
    addresses: size.addresses
    zoneRedundant: size.zoneRedundant
  }
}

module zones 'modules/zones.bicep' = {
  scope: group
  name: 'zones'
  params: { tags: tags, vnetId: network.outputs.vnetId }
}

module monitoring 'modules/monitoring.bicep' = {
  scope: group
  name: 'monitoring'
  params: {
    location: location
    tags: tags
    token: token
    retentionDays: size.logRetentionDays
    dailyCapGB: size.logDailyCapGB
    emails: alertEmails
    webhook: alertWebhook
    publishers: [identities.outputs.app.principalId, identities.outputs.machine.principalId]
  }
}

module appStorage 'modules/storage.bicep' = {
  scope: group
  name: 'app-storage'
  params: {
    location: location
    tags: tags
    name: 'stapp${token}'
    sku: size.storageSku
    containers: ['deployments', 'files']
    subnetId: network.outputs.appEndpointsSubnetId
    // The storage task hub keeps its state in queues and tables.
    services: taskHub == 'storage' ? ['blob', 'queue', 'table'] : ['blob']
    zoneIds: zones.outputs.storage
    accountOwners: [identities.outputs.app.principalId]
  }
}

// An account of its own: machines reach it over the network, and the deployer uploads to it. Neither must come near the
// files of sessions.
module workerStorage 'modules/storage.bicep' = {
  scope: group
  name: 'worker-storage'
  params: {
    location: location
    tags: tags
    name: 'stworker${token}'
    sku: size.storageSku
    containers: ['worker']
    subnetId: network.outputs.machineEndpointsSubnetId
    services: ['blob']
    zoneIds: zones.outputs.storage
    containerReaders: [identities.outputs.machine.principalId]
    containerWriters: empty(deployerPrincipalId) ? [] : [deployerPrincipalId]
  }
}

module cosmos 'modules/cosmos.bicep' = {
  scope: group
  name: 'cosmos'
  params: {
    location: location
    tags: tags
    token: token
    maximumRUs: size.cosmosMaximumRUs
    backup: size.cosmosBackup
    zoneRedundant: size.zoneRedundant
    subnetId: network.outputs.appEndpointsSubnetId
    zoneId: zones.outputs.cosmos
    workspaceId: monitoring.outputs.workspaceId
    contributor: identities.outputs.app.principalId
  }
}

module pubsub 'modules/pubsub.bicep' = {
  scope: group
  name: 'pubsub'
  params: {
    location: location
    tags: tags
    token: token
    units: size.pubSubUnits
    subnetId: network.outputs.appEndpointsSubnetId
    zoneId: zones.outputs.pubsub
    workspaceId: monitoring.outputs.workspaceId
    owner: identities.outputs.app.principalId
  }
}

module vault 'modules/vault.bicep' = {
  scope: group
  name: 'vault'
  params: {
    location: location
    tags: tags
    token: token
    purgeProtection: size.purgeProtection
    subnetId: network.outputs.appEndpointsSubnetId
    zoneId: zones.outputs.vault
    workspaceId: monitoring.outputs.workspaceId
    reader: identities.outputs.app.principalId
  }
}

module models 'modules/models.bicep' = {
  scope: group
  name: 'models'
  params: {
    location: modelLocation
    endpointLocation: location
    tags: tags
    token: token
    models: size.models
    subnetId: network.outputs.machineEndpointsSubnetId
    zoneId: zones.outputs.openai
    workspaceId: monitoring.outputs.workspaceId
    user: identities.outputs.machine.principalId
  }
}

module scheduler 'modules/scheduler.bicep' = if (taskHub == 'scheduler') {
  scope: group
  name: 'scheduler'
  params: {
    location: location
    tags: tags
    token: token
    hubName: hubName
    sku: size.schedulerSku
    capacity: size.schedulerCapacity
    private: privateScheduler
    publicAddress: network.outputs.publicAddress
    subnetId: network.outputs.appEndpointsSubnetId
    zoneId: zones.outputs.scheduler
    contributor: identities.outputs.app.principalId
  }
}

module roles 'modules/roles.bicep' = {
  name: 'nightshift-roles-${environmentName}'
  params: {
    environmentName: environmentName
    groupId: group.id
    machineGroupId: machineGroup.id
  }
}

module image 'modules/image.bicep' = {
  scope: group
  name: 'image'
  params: {
    location: location
    tags: tags
    token: token
    replicas: size.imageReplicas
    workerSource: '${workerStorage.outputs.blobEndpoint}worker/worker.tar.gz'
    builderId: identities.outputs.builder.id
    builderPrincipalId: identities.outputs.builder.principalId
    publisherRoleId: roles.outputs.imagePublisher
  }
}

module machines 'modules/machines.bicep' = {
  scope: machineGroup
  name: 'machines'
  params: { operator: identities.outputs.app.principalId, operatorRoleId: roles.outputs.machineOperator }
}

module machineParts 'modules/machine-parts.bicep' = {
  scope: group
  name: 'machine-parts'
  params: {
    operator: identities.outputs.app.principalId
    roleId: roles.outputs.machinePartsUser
    vnetName: network.outputs.vnetName
    subnetName: network.outputs.machinesSubnetName
    galleryName: image.outputs.galleryName
    identityName: identities.outputs.machine.name
  }
}

module app 'modules/app.bicep' = {
  scope: group
  name: 'app'
  // The rights must be there before the app uses them. The other modules are waited for because their outputs are used.
  dependsOn: [machines, machineParts]
  params: {
    location: location
    tags: tags
    token: token
    size: size
    identity: identities.outputs.app
    subnetId: network.outputs.appSubnetId
    allowedAddresses: empty(allowedAddresses) ? [] : concat(allowedAddresses, ['${network.outputs.publicAddress}/32'])
    storageName: appStorage.outputs.name
    storageEndpoint: appStorage.outputs.blobEndpoint
    insightsName: monitoring.outputs.insightsName
    vaultName: vault.outputs.name
    entraClientId: entraClientId
    gitHubAppId: gitHubAppId
    schedulerEndpoint: taskHub == 'scheduler' ? scheduler!.outputs.endpoint : ''
    settings: {
      NIGHTSHIFT_COSMOS_ENDPOINT: cosmos.outputs.endpoint
      NIGHTSHIFT_BLOBS_URL: '${appStorage.outputs.blobEndpoint}files'
      NIGHTSHIFT_PUBSUB_ENDPOINT: pubsub.outputs.endpoint
      NIGHTSHIFT_VM_RESOURCE_GROUP: machineGroup.id
      NIGHTSHIFT_VM_LOCATION: location
      NIGHTSHIFT_VM_SUBNET: network.outputs.machinesSubnetId
      NIGHTSHIFT_VM_IMAGE: image.outputs.definitionId
      NIGHTSHIFT_VM_IDENTITY: identities.outputs.machine.id
      NIGHTSHIFT_VM_SIZES: join(size.machineSizes, ',')
      NIGHTSHIFT_VM_ZONES: join(size.machineZones, ',')
      NIGHTSHIFT_VM_SPOT: size.machineSpot ? '1' : '0'
      NIGHTSHIFT_MODEL: size.model
      OPENAI_BASE_URL: models.outputs.baseUrl
      GITHUB_API_URL: gitHubApiUrl
    }
  }
}

module alerts 'modules/alerts.bicep' = {
  scope: group
  name: 'alerts'
  params: {
    location: location
    tags: tags
    token: token
    workspaceId: monitoring.outputs.workspaceId
    actionGroupId: monitoring.outputs.actionGroupId
    cosmosId: cosmos.outputs.id
    modelsId: models.outputs.id
  }
}

module budget 'modules/budget.bicep' = {
  name: 'nightshift-budget-${environmentName}'
  params: {
    name: 'nightshift-${environmentName}'
    amount: size.monthlyBudget
    startDate: budgetStart
    groups: [group.name, machineGroup.name]
    emails: alertEmails
    actionGroupId: monitoring.outputs.actionGroupId
  }
}

// azd writes these into its environment; the hooks in scripts/azure read them there. None of them is a secret.
output AZURE_RESOURCE_GROUP string = group.name
output NIGHTSHIFT_MACHINES_GROUP string = machineGroup.name
output NIGHTSHIFT_APP_NAME string = app.outputs.name
output NIGHTSHIFT_PUBLIC_URL string = app.outputs.url
output NIGHTSHIFT_APP_PRINCIPAL_ID string = identities.outputs.app.principalId
output NIGHTSHIFT_VAULT_NAME string = vault.outputs.name
output NIGHTSHIFT_WORKER_STORAGE string = workerStorage.outputs.name
output NIGHTSHIFT_GALLERY string = image.outputs.galleryName
output NIGHTSHIFT_IMAGE_TEMPLATE string = image.outputs.templateName
