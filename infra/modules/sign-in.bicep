// App Service authentication. It says who a person is, and takes away what a client pretends to be. It lets everybody
// through: workers, API keys and webhooks have credentials of their own, and the app decides route by route.
param siteName string
@description('Application (client) id of the registration in Entra ID.')
param clientId string

resource site 'Microsoft.Web/sites@2024-11-01' existing = {
  name: siteName

  resource authentication 'config' = {
    name: 'authsettingsV2'
    properties: {
      platform: { enabled: true }
      globalValidation: {
        requireAuthentication: false
        unauthenticatedClientAction: 'AllowAnonymous'
        // A worker's bearer token is none of Entra's, and the module would refuse it. The app trusts no sign-in there.
        excludedPaths: ['/api/worker/*']
      }
      httpSettings: { requireHttps: true }
      login: {
        tokenStore: { enabled: false } // the app needs to know who it is, and nobody's tokens
      }
      identityProviders: {
        azureActiveDirectory: {
          enabled: true
          registration: {
            clientId: clientId
            // No secret: the app setting of this name holds the id of the identity that the registration trusts.
            clientSecretSettingName: 'OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID'
            openIdIssuer: '${az.environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
          }
          validation: {
            allowedAudiences: [clientId, 'api://${clientId}']
          }
        }
      }
    }
  }
}
