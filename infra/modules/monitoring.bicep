// Logs, traces and metrics, and who is told.
param location string
param tags object
param token string
param retentionDays int
param dailyCapGB int
param emails array
@secure()
param webhook string
@description('Principals that may send telemetry.')
param publishers array

var metricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb'

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-02-01' = {
  name: 'log-${token}'
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    retentionInDays: retentionDays
    workspaceCapping: { dailyQuotaGb: dailyCapGB }
    features: {
      disableLocalAuth: true
      enableLogAccessUsingOnlyResourcePermissions: true
    }
  }
}

// Telemetry goes to the public address of Azure Monitor, signed by an identity: a private one would take over the DNS of
// all of Azure Monitor in this network (docs/azure.md).
resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-${token}'
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    IngestionMode: 'LogAnalytics'
    DisableLocalAuth: true
  }
}

resource publish 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for principal in publishers: {
  scope: insights
  name: guid(insights.id, principal, metricsPublisher)
  properties: {
    principalId: principal
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', metricsPublisher)
  }
}]

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-nightshift-${token}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'nightshift'
    enabled: true
    emailReceivers: [for (email, index) in emails: {
      name: 'mail-${index}'
      emailAddress: email
      useCommonAlertSchema: true
    }]
    webhookReceivers: empty(webhook) ? [] : [
      {
        name: 'webhook'
        serviceUri: webhook
        useCommonAlertSchema: true
      }
    ]
  }
}

output workspaceId string = workspace.id
output insightsName string = insights.name
output actionGroupId string = people.id
