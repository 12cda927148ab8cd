// What wakes somebody. docs/azure.md says of each what it means and what to do; tests/infra compares the two lists.
param location string
param tags object
param token string
param workspaceId string
param actionGroupId string
param cosmosId string
param modelsId string

var logAlerts = [
  {
    name: 'server-errors'
    severity: 1
    minutes: 5
    operator: 'GreaterThan'
    threshold: 10
    query: 'AppRequests | where Name == "http" and toint(ResultCode) >= 500'
  }
  {
    name: 'slow-answers'
    severity: 2
    minutes: 15
    operator: 'GreaterThan'
    threshold: 0
    // Requests with `wait=` are meant to take their time.
    query: 'AppRequests | where Name == "http" and Url !contains "wait=" | summarize slow = percentile(DurationMs, 95), requests = count() | where requests >= 20 and slow > 5000'
  }
  {
    name: 'app-down'
    severity: 0
    minutes: 15
    operator: 'LessThan'
    threshold: 1
    // The janitor runs every five minutes, whether anybody uses the app or not.
    query: 'AppRequests | where Name == "tidy" and Success == true'
  }
  {
    name: 'failed-activities'
    severity: 2
    minutes: 15
    operator: 'GreaterThan'
    threshold: 5
    query: 'AppRequests | where Name !in ("http", "tidy") and Success == false'
  }
  {
    name: 'failed-sessions'
    severity: 2
    minutes: 60
    operator: 'GreaterThan'
    threshold: 0
    query: 'AppMetrics | where Name == "nightshift.sessions.failed" | summarize failed = sum(Sum) | where failed > 3'
  }
  {
    name: 'orphaned-machines'
    severity: 1
    minutes: 60
    operator: 'GreaterThan'
    threshold: 0
    // The janitor removes them by itself; one that is seen again and again it cannot remove.
    query: 'AppMetrics | where Name == "nightshift.machines.orphaned" | summarize least = min(Min), looks = count() | where looks >= 3 and least > 0'
  }
  {
    name: 'machine-agents-silent'
    severity: 2
    minutes: 15
    operator: 'GreaterThan'
    threshold: 0
    query: 'AppMetrics | where Name == "nightshift.workers.silent" | summarize silent = sum(Sum) | where silent > 3'
  }
]

var metricAlerts = [
  {
    name: 'store-throttled'
    target: cosmosId
    namespace: 'Microsoft.DocumentDB/databaseAccounts'
    metric: 'TotalRequests'
    aggregation: 'Count'
    threshold: 50
  }
  {
    name: 'model-throttled'
    target: modelsId
    namespace: 'Microsoft.CognitiveServices/accounts'
    metric: 'AzureOpenAIRequests'
    aggregation: 'Total'
    threshold: 20
  }
]

resource fromLogs 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for alert in logAlerts: {
  name: 'nightshift-${alert.name}-${token}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Nightshift: ${alert.name}'
    description: 'docs/azure.md, "What each alert means"'
    severity: alert.severity
    enabled: true
    scopes: [workspaceId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT${alert.minutes}M'
    autoMitigate: true
    skipQueryValidation: true // before the first telemetry the tables are not there
    criteria: {
      allOf: [
        {
          query: alert.query
          timeAggregation: 'Count'
          operator: alert.operator
          threshold: alert.threshold
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: { actionGroups: [actionGroupId] }
  }
}]

resource fromMetrics 'Microsoft.Insights/metricAlerts@2018-03-01' = [for alert in metricAlerts: {
  name: 'nightshift-${alert.name}-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: 'docs/azure.md, "What each alert means"'
    severity: 2
    enabled: true
    scopes: [alert.target]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT5M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'refused'
          criterionType: 'StaticThresholdCriterion'
          metricNamespace: alert.namespace
          metricName: alert.metric
          timeAggregation: alert.aggregation
          operator: 'GreaterThan'
          threshold: alert.threshold
          dimensions: [
            {
              name: 'StatusCode'
              operator: 'Include'
              values: ['429']
            }
          ]
        }
      ]
    }
    actions: [{ actionGroupId: actionGroupId }]
  }
}]
