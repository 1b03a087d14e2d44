"""Which inputs of a resource cannot change in place: a new value deletes the resource and makes another.

A table of what providers state of the types that the program declares. Its sources:

- hashicorp/terraform-provider-google 7.46, google/services/*/resource_*.go: `ForceNew: true` in the schema of a resource.
- hashicorp/terraform-provider-aws 5.32, internal/service/*/*.go: `ForceNew: true`, or `RequiresReplace()`; newer states of
  eks/cluster.go, access_entry.go, access_policy_association.go, batch/compute_environment.go, job_definition.go,
  ecr/repository_creation_template.go, iam/openid_connect_provider.go, sagemaker/mlflow_app.go; of bedrock/*.go,
  bedrockagent/*.go, elasticache/serverless_cache.go and s3vectors/*.go. `region` of all: since 6.0.
- hashicorp/terraform-provider-google-beta, services/apigateway and services/serviceusage: of what is there alone.
- pulumi/pulumi-kubernetes, provider/pkg/provider/diff.go: `forceNew`.

Left out is what depends on the values: a file system of FSx that becomes smaller is made anew.
"""

from collections.abc import Mapping

EVERYTHING = "*"
"""Of a type that knows no update at all."""

# By type, or by package for all of its types: inputs, or what is within one. A path stands for all that is below it.
_FIXED: Mapping[str, str] = {
    # Each provider's own.
    "aws": "region",
    "kubernetes": "metadata.name metadata.namespace",
    # AWS.
    "aws:accessanalyzer/analyzer:Analyzer": "analyzerName type",
    "aws:acm/certificate:Certificate": (
        "certificateAuthorityArn domainName keyAlgorithm subjectAlternativeNames validationMethod validationOptions"
    ),
    "aws:acm/certificateValidation:CertificateValidation": "certificateArn validationRecordFqdns",
    "aws:amp/scraper:Scraper": "source",
    "aws:apigatewayv2/api:Api": "credentialsArn protocolType routeKey target",
    "aws:apigatewayv2/authorizer:Authorizer": "apiId",
    "aws:apigatewayv2/integration:Integration": "apiId integrationSubtype integrationType",
    "aws:apigatewayv2/route:Route": "apiId",
    "aws:apigatewayv2/stage:Stage": "apiId name",
    "aws:appautoscaling/policy:Policy": "name resourceId scalableDimension serviceNamespace",
    "aws:appautoscaling/target:Target": "resourceId scalableDimension serviceNamespace",
    "aws:autoscaling/schedule:Schedule": "autoscalingGroupName scheduledActionName",
    "aws:batch/computeEnvironment:ComputeEnvironment": (
        "computeResources.placementGroup computeResources.spotIamFleetRole eksConfiguration name namePrefix type"
    ),
    "aws:batch/jobDefinition:JobDefinition": "name type",
    "aws:batch/jobQueue:JobQueue": "name",
    "aws:batch/schedulingPolicy:SchedulingPolicy": "name",
    "aws:bedrock/agentDataSource:AgentDataSource": "name vectorIngestionConfiguration",
    "aws:bedrock/agentKnowledgeBase:AgentKnowledgeBase": "knowledgeBaseConfiguration storageConfiguration",
    "aws:bedrock/guardrail:Guardrail": "",
    "aws:bedrock/guardrailVersion:GuardrailVersion": "description guardrailArn",
    "aws:bedrock/inferenceProfile:InferenceProfile": "description modelSource name",
    "aws:bedrock/provisionedModelThroughput:ProvisionedModelThroughput": (
        "commitmentDuration modelArn modelUnits provisionedModelName"
    ),
    "aws:bedrockmodel/invocationLoggingConfiguration:InvocationLoggingConfiguration": "",
    "aws:budgets/budget:Budget": "accountId name namePrefix",
    "aws:cloudcontrol/resource:Resource": "typeName",
    "aws:cloudwatch/dashboard:Dashboard": "dashboardName",
    "aws:cloudwatch/eventRule:EventRule": "eventBusName name namePrefix",
    "aws:cloudwatch/eventTarget:EventTarget": "eventBusName rule targetId",
    "aws:cloudwatch/logGroup:LogGroup": "logGroupClass name namePrefix",
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": "logGroupName name",
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": "policyName",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "name",
    "aws:codedeploy/application:Application": "computePlatform",
    "aws:codedeploy/deploymentConfig:DeploymentConfig": (
        "computePlatform deploymentConfigName minimumHealthyHosts trafficRoutingConfig zonalConfig"
    ),
    "aws:codedeploy/deploymentGroup:DeploymentGroup": "",
    "aws:costexplorer/costAllocationTag:CostAllocationTag": "tagKey",
    "aws:ebs/defaultKmsKey:DefaultKmsKey": "keyArn",
    "aws:ebs/encryptionByDefault:EncryptionByDefault": "",
    "aws:ebs/snapshotBlockPublicAccess:SnapshotBlockPublicAccess": "",
    "aws:ec2/defaultRouteTable:DefaultRouteTable": "defaultRouteTableId",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": "vpcId",
    "aws:ec2/eip:Eip": "address domain networkBorderGroup publicIpv4Pool",
    "aws:ec2/flowLog:FlowLog": (
        "deliverCrossAccountRole destinationOptions eniId iamRoleArn logDestination logDestinationType "
        "logFormat maxAggregationInterval subnetId trafficType transitGatewayAttachmentId transitGatewayId "
        "vpcId"
    ),
    "aws:ec2/imageBlockPublicAccess:ImageBlockPublicAccess": "",
    "aws:ec2/instanceMetadataDefaults:InstanceMetadataDefaults": "",
    "aws:ec2/internetGateway:InternetGateway": "",
    "aws:ec2/launchTemplate:LaunchTemplate": "name namePrefix",
    "aws:ec2/natGateway:NatGateway": "allocationId connectivityType privateIp secondaryPrivateIpAddressCount subnetId",
    "aws:ec2/networkAcl:NetworkAcl": "vpcId",
    "aws:ec2/placementGroup:PlacementGroup": "name partitionCount spreadLevel strategy",
    "aws:ec2/route:Route": "destinationCidrBlock destinationIpv6CidrBlock destinationPrefixListId routeTableId",
    "aws:ec2/routeTable:RouteTable": "vpcId",
    "aws:ec2/routeTableAssociation:RouteTableAssociation": "gatewayId subnetId",
    "aws:ec2/securityGroup:SecurityGroup": "description name namePrefix vpcId",
    "aws:ec2/serialConsoleAccess:SerialConsoleAccess": "",
    "aws:ec2/subnet:Subnet": "availabilityZone availabilityZoneId cidrBlock ipv6Native outpostArn vpcId",
    "aws:ec2/vpc:Vpc": "cidrBlock ipv4IpamPoolId ipv4NetmaskLength",
    "aws:ec2/vpcEndpoint:VpcEndpoint": "serviceName vpcEndpointType vpcId",
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": "policy repository",
    "aws:ecr/pullThroughCacheRule:PullThroughCacheRule": "ecrRepositoryPrefix upstreamRegistryUrl",
    "aws:ecr/registryScanningConfiguration:RegistryScanningConfiguration": "",
    "aws:ecr/replicationConfiguration:ReplicationConfiguration": "",
    "aws:ecr/repository:Repository": "encryptionConfigurations name",
    "aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate": "prefix",
    "aws:ecr/repositoryPolicy:RepositoryPolicy": "repository",
    "aws:ecs/cluster:Cluster": "name",
    "aws:ecs/service:Service": "cluster deploymentController.type iamRole launchType name schedulingStrategy",
    "aws:ecs/taskDefinition:TaskDefinition": (
        "containerDefinitions cpu ephemeralStorage executionRoleArn family ipcMode memory networkMode pidMode "
        "placementConstraints proxyConfiguration requiresCompatibilities runtimePlatform taskRoleArn volumes"
    ),
    "aws:eks/accessEntry:AccessEntry": "clusterName principalArn type",
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": "accessScope clusterName policyArn principalArn",
    "aws:eks/addon:Addon": "addonName clusterName",
    "aws:eks/cluster:Cluster": (
        "accessConfig.bootstrapClusterCreatorAdminPermissions bootstrapSelfManagedAddons "
        "kubernetesNetworkConfig.ipFamily kubernetesNetworkConfig.serviceIpv4Cidr name outpostConfig roleArn"
    ),
    "aws:eks/nodeGroup:NodeGroup": (
        "amiType capacityType clusterName diskSize instanceTypes launchTemplate.id launchTemplate.name "
        "nodeGroupName nodeGroupNamePrefix nodeRoleArn remoteAccess subnetIds"
    ),
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": "clusterName namespace serviceAccount",
    "aws:elasticache/serverlessCache:ServerlessCache": (
        "engine kmsKeyId majorEngineVersion name snapshotArnsToRestores subnetIds"
    ),
    "aws:elasticache/user:User": "engine userId userName",
    "aws:elasticache/userGroup:UserGroup": "engine userGroupId",
    "aws:fsx/dataRepositoryAssociation:DataRepositoryAssociation": "dataRepositoryPath fileSystemId fileSystemPath",
    "aws:fsx/lustreFileSystem:LustreFileSystem": (
        "backupId copyTagsToBackups deploymentType driveCacheType exportPath fileSystemTypeVersion importPath "
        "importedFileChunkSize kmsKeyId perUnitStorageThroughput securityGroupIds storageType subnetIds"
    ),
    "aws:iam/accountPasswordPolicy:AccountPasswordPolicy": "",
    "aws:iam/instanceProfile:InstanceProfile": "name namePrefix path",
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": "url",
    "aws:iam/policy:Policy": "description name namePrefix path",
    "aws:iam/role:Role": "name namePrefix path",
    "aws:iam/rolePolicy:RolePolicy": "name namePrefix role",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "policyArn role",
    "aws:iot/eventConfigurations:EventConfigurations": "",
    "aws:iot/indexingConfiguration:IndexingConfiguration": "",
    "aws:iot/loggingOptions:LoggingOptions": "",
    "aws:iot/policy:Policy": "name",
    "aws:iot/roleAlias:RoleAlias": "alias",
    "aws:iot/thingGroup:ThingGroup": "name parentGroupName",
    "aws:iot/thingType:ThingType": "name properties.description properties.searchableAttributes",
    "aws:iot/topicRule:TopicRule": "name",
    "aws:kms/alias:Alias": "name namePrefix",
    "aws:kms/key:Key": "customKeyStoreId customerMasterKeySpec keyUsage multiRegion xksKeyId",
    "aws:kms/replicaKey:ReplicaKey": "primaryKeyArn",
    "aws:lambda/alias:Alias": "functionName name",
    "aws:lambda/eventSourceMapping:EventSourceMapping": (
        "amazonManagedKafkaEventSourceConfig eventSourceArn queues selfManagedEventSource "
        "selfManagedKafkaEventSourceConfig startingPosition startingPositionTimestamp topics"
    ),
    "aws:lambda/function:Function": "name packageType",
    "aws:lambda/invocation:Invocation": "functionName qualifier triggers",
    "aws:lambda/permission:Permission": (
        "action eventSourceToken function functionUrlAuthType principal principalOrgId qualifier "
        "sourceAccount sourceArn statementId statementIdPrefix"
    ),
    "aws:lambda/provisionedConcurrencyConfig:ProvisionedConcurrencyConfig": "functionName qualifier",
    "aws:lb/listener:Listener": "loadBalancerArn",
    "aws:lb/listenerRule:ListenerRule": "listenerArn",
    "aws:lb/loadBalancer:LoadBalancer": "customerOwnedIpv4Pool internal loadBalancerType name namePrefix",
    "aws:lb/targetGroup:TargetGroup": "ipAddressType name namePrefix port protocol protocolVersion targetType vpcId",
    "aws:rds/cluster:Cluster": (
        "availabilityZones clusterIdentifier clusterIdentifierPrefix databaseName dbSubnetGroupName dbSystemId engine engineMode "
        "kmsKeyId masterUsername restoreToPointInTime s3Import snapshotIdentifier sourceRegion storageEncrypted"
    ),
    "aws:rds/clusterInstance:ClusterInstance": (
        "availabilityZone clusterIdentifier customIamInstanceProfile dbSubnetGroupName engine identifier identifierPrefix"
    ),
    "aws:rds/clusterParameterGroup:ClusterParameterGroup": "description family name namePrefix",
    "aws:rds/instance:Instance": (
        "availabilityZone backupTarget characterSetName customIamInstanceProfile dbName engine kmsKeyId "
        "ncharCharacterSetName s3Import.bucketName s3Import.bucketPrefix s3Import.ingestionRole "
        "s3Import.sourceEngine s3Import.sourceEngineVersion snapshotIdentifier storageEncrypted timezone "
        "username"
    ),
    "aws:rds/parameterGroup:ParameterGroup": "description family name namePrefix",
    "aws:rds/subnetGroup:SubnetGroup": "name namePrefix",
    "aws:route53/record:Record": "name zoneId",
    "aws:s3/accountPublicAccessBlock:AccountPublicAccessBlock": "accountId",
    "aws:s3/bucket:Bucket": "bucket bucketPrefix objectLockConfiguration.objectLockEnabled objectLockEnabled",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": "bucket expectedBucketOwner",
    "aws:s3/bucketLogging:BucketLogging": "bucket expectedBucketOwner",
    "aws:s3/bucketNotification:BucketNotification": "bucket",
    "aws:s3/bucketObjectv2:BucketObjectv2": "bucket key",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": "bucket",
    "aws:s3/bucketPolicy:BucketPolicy": "bucket",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": "bucket",
    "aws:s3/bucketReplicationConfig:BucketReplicationConfig": "bucket",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        "bucket expectedBucketOwner"
    ),
    "aws:s3/bucketVersioning:BucketVersioning": "bucket expectedBucketOwner",
    "aws:s3/vectorsIndex:VectorsIndex": (
        "dataType dimension distanceMetric encryptionConfigurations indexName metadataConfiguration vectorBucketName"
    ),
    "aws:s3/vectorsVectorBucket:VectorsVectorBucket": "encryptionConfigurations vectorBucketName",
    "aws:sagemaker/domain:Domain": (
        "appNetworkAccessType appSecurityGroupManagement authMode domainName domainSettings.securityGroupIds "
        "kmsKeyId subnetIds vpcId"
    ),
    "aws:sagemaker/endpoint:Endpoint": "deploymentConfig.autoRollbackConfiguration name",
    "aws:sagemaker/endpointConfiguration:EndpointConfiguration": (
        "asyncInferenceConfig dataCaptureConfig executionRoleArn kmsKeyArn name namePrefix productionVariants "
        "shadowProductionVariants"
    ),
    "aws:sagemaker/mlflowApp:MlflowApp": "roleArn",
    "aws:sagemaker/model:Model": (
        "containers enableNetworkIsolation executionRoleArn inferenceExecutionConfig name primaryContainer vpcConfig"
    ),
    "aws:sagemaker/modelPackageGroup:ModelPackageGroup": "modelPackageGroupDescription modelPackageGroupName",
    "aws:sagemaker/modelPackageGroupPolicy:ModelPackageGroupPolicy": "modelPackageGroupName",
    "aws:sagemaker/pipeline:Pipeline": "pipelineName",
    "aws:sagemaker/space:Space": "domainId spaceName",
    "aws:sagemaker/userProfile:UserProfile": (
        "domainId singleSignOnUserIdentifier singleSignOnUserValue userProfileName"
    ),
    "aws:scheduler/schedule:Schedule": "groupName name namePrefix",
    "aws:scheduler/scheduleGroup:ScheduleGroup": "name namePrefix",
    "aws:secretsmanager/secret:Secret": "name namePrefix",
    "aws:secretsmanager/secretPolicy:SecretPolicy": "secretArn",
    "aws:secretsmanager/secretRotation:SecretRotation": "secretId",
    "aws:secretsmanager/secretVersion:SecretVersion": "secretBinary secretId secretString",
    "aws:servicequotas/serviceQuota:ServiceQuota": "quotaCode serviceCode",
    "aws:sfn/stateMachine:StateMachine": "name namePrefix type",
    "aws:signer/signingProfile:SigningProfile": "name namePrefix platformId signatureValidityPeriod signingMaterial",
    "aws:sns/topic:Topic": "fifoTopic name namePrefix",
    "aws:sns/topicPolicy:TopicPolicy": "arn",
    "aws:sns/topicSubscription:TopicSubscription": "endpoint protocol topic",
    "aws:sqs/queue:Queue": "fifoQueue name namePrefix",
    "aws:sqs/queuePolicy:QueuePolicy": "queueUrl",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "securityGroupId",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": "securityGroupId",
    "aws:wafv2/webAcl:WebAcl": "name namePrefix scope",
    "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": "resourceArn",
    "aws:lb/targetGroupAttachment:TargetGroupAttachment": EVERYTHING,
    "aws:wafv2/webAclAssociation:WebAclAssociation": EVERYTHING,
    # Google Cloud.
    "gcp:accesscontextmanager/servicePerimeter:ServicePerimeter": "name parent perimeterType",
    "gcp:apigateway/api:Api": "apiId managedService project",
    "gcp:apigateway/apiConfig:ApiConfig": (
        "api apiConfigId apiConfigIdPrefix gatewayConfig grpcServices.fileDescriptorSet "
        "grpcServices.sources.contents grpcServices.sources.path managedServiceConfigs.contents "
        "managedServiceConfigs.path openapiDocuments.document.contents openapiDocuments.document.path project"
    ),
    "gcp:apigateway/gateway:Gateway": "gatewayId project region",
    "gcp:artifactregistry/repository:Repository": (
        "format kmsKeyName location mavenConfig.allowSnapshotOverwrites mavenConfig.versionPolicy mode "
        "project remoteRepositoryConfig.aptRepository remoteRepositoryConfig.commonRepository "
        "remoteRepositoryConfig.description remoteRepositoryConfig.dockerRepository "
        "remoteRepositoryConfig.mavenRepository remoteRepositoryConfig.noCache "
        "remoteRepositoryConfig.npmRepository remoteRepositoryConfig.pythonRepository "
        "remoteRepositoryConfig.yumRepository repositoryId"
    ),
    "gcp:bigquery/dataset:Dataset": "datasetId externalDatasetReference location project",
    "gcp:bigquery/table:Table": (
        "datasetId encryptionConfiguration externalDataConfiguration.schema project rangePartitioning.field tableId "
        "tableReplicationInfo timePartitioning.field"
    ),
    "gcp:billing/budget:Budget": "billingAccount",
    "gcp:binaryauthorization/attestor:Attestor": "attestationAuthorityNote.noteReference name project",
    "gcp:binaryauthorization/policy:Policy": "project",
    "gcp:certificatemanager/certificate:Certificate": "location managed name project scope",
    "gcp:certificatemanager/certificateMap:CertificateMap": "name project",
    "gcp:certificatemanager/certificateMapEntry:CertificateMapEntry": "hostname map matcher name project",
    "gcp:certificatemanager/dnsAuthorization:DnsAuthorization": "domain location name project type",
    "gcp:cloudfunctionsv2/function:Function": "buildConfig.source.repoSource.projectId location name project",
    "gcp:cloudquota/sQuotaPreference:SQuotaPreference": "parent",
    "gcp:cloudrunv2/service:Service": "location name project tags",
    "gcp:cloudscheduler/job:Job": "name project region",
    "gcp:colab/runtimeTemplate:RuntimeTemplate": (
        "dataPersistentDiskSpec description eucConfig machineSpec name networkSpec networkTags project"
    ),
    "gcp:compute/backendService:BackendService": "name params project",
    "gcp:compute/globalAddress:GlobalAddress": (
        "address addressType description ipVersion name network prefixLength project purpose"
    ),
    "gcp:compute/globalForwardingRule:GlobalForwardingRule": (
        "description ipAddress ipProtocol ipVersion metadataFilters name network networkTier noAutomateDnsZone "
        "portRange project serviceDirectoryRegistrations sourceIpRanges subnetwork"
    ),
    "gcp:compute/network:Network": (
        "autoCreateSubnetworks description internalIpv6Range name networkProfile params project"
    ),
    "gcp:compute/networkFirewallPolicy:NetworkFirewallPolicy": "name policyType project",
    "gcp:compute/networkFirewallPolicyAssociation:NetworkFirewallPolicyAssociation": (
        "attachmentTarget firewallPolicy name project"
    ),
    "gcp:compute/networkFirewallPolicyRule:NetworkFirewallPolicyRule": "firewallPolicy priority project",
    "gcp:compute/regionNetworkEndpointGroup:RegionNetworkEndpointGroup": (
        "appEngine cloudFunction cloudRun description name network networkEndpointType project pscData "
        "pscTargetService region serverlessDeployment subnetwork"
    ),
    "gcp:compute/route:Route": (
        "description destRange name network nextHopGateway nextHopIlb nextHopInstance nextHopInstanceZone "
        "nextHopIp nextHopVpnTunnel params priority project tags"
    ),
    "gcp:compute/router:Router": "encryptedInterconnectRouter name nccGateway network project region",
    "gcp:compute/routerNat:RouterNat": "endpointTypes initialNatIps name project region router type",
    "gcp:compute/sSLPolicy:SSLPolicy": "description name project",
    "gcp:compute/securityPolicy:SecurityPolicy": "name project type",
    "gcp:compute/subnetwork:Subnetwork": (
        "description externalIpv6Prefix internalIpv6Prefix name network params project region "
        "reservedInternalRange resolveSubnetMask"
    ),
    "gcp:compute/targetHttpProxy:TargetHttpProxy": "description httpKeepAliveTimeoutSec name project proxyBind",
    "gcp:compute/targetHttpsProxy:TargetHttpsProxy": (
        "description httpKeepAliveTimeoutSec name project proxyBind tlsEarlyData"
    ),
    "gcp:compute/uRLMap:URLMap": "name project",
    "gcp:container/cluster:Cluster": (
        "clusterAutoscaling.autoProvisioningDefaults.bootDiskKmsKey clusterIpv4Cidr confidentialNodes "
        "datapathProvider dataplaneOptimizationMode defaultMaxPodsPerNode description enableAutopilot "
        "enableKubernetesAlpha enableTpu initialNodeCount ipAllocationPolicy.clusterIpv4CidrBlock "
        "ipAllocationPolicy.clusterSecondaryRangeName ipAllocationPolicy.servicesIpv4CidrBlock "
        "ipAllocationPolicy.servicesSecondaryRangeName location masterAuth.clientCertificateConfig name "
        "network networkingMode privateClusterConfig.masterIpv4CidrBlock "
        "privateClusterConfig.privateEndpointSubnetwork project subnetwork "
        "userManagedKeysConfig.aggregationCa userManagedKeysConfig.clusterCa userManagedKeysConfig.etcdApiCa "
        "userManagedKeysConfig.etcdPeerCa"
    ),
    "gcp:container/nodePool:NodePool": (
        "cluster initialNodeCount location maxPodsPerNode name namePrefix "
        "networkConfig.acceleratorNetworkProfile networkConfig.additionalNodeNetworkConfigs.network "
        "networkConfig.additionalNodeNetworkConfigs.subnetwork networkConfig.additionalPodNetworkConfigs "
        "networkConfig.createPodRange networkConfig.podIpv4CidrBlock networkConfig.podRange "
        "networkConfig.subnetwork nodeConfig.advancedMachineFeatures.enableNestedVirtualization "
        "nodeConfig.advancedMachineFeatures.threadsPerCore nodeConfig.bootDiskKmsKey "
        "nodeConfig.confidentialNodes.confidentialInstanceType nodeConfig.enableConfidentialStorage "
        "nodeConfig.ephemeralStorageLocalSsdConfig nodeConfig.flexStart nodeConfig.guestAccelerators "
        "nodeConfig.hostMaintenancePolicy.maintenanceInterval nodeConfig.localNvmeSsdBlockConfig "
        "nodeConfig.localSsdCount nodeConfig.localSsdEncryptionMode nodeConfig.maxRunDuration "
        "nodeConfig.metadata nodeConfig.minCpuPlatform nodeConfig.nodeGroup nodeConfig.oauthScopes "
        "nodeConfig.preemptible nodeConfig.reservationAffinity nodeConfig.secondaryBootDisks "
        "nodeConfig.serviceAccount nodeConfig.shieldedInstanceConfig "
        "nodeConfig.soleTenantConfig.nodeAffinities nodeConfig.spot placementPolicy.policyName project "
        "queuedProvisioning"
    ),
    "gcp:containeranalysis/note:Note": "name project",
    "gcp:dataloss/preventionInspectTemplate:PreventionInspectTemplate": (
        "inspectConfig.customInfoTypes.dictionary inspectConfig.customInfoTypes.regex "
        "inspectConfig.customInfoTypes.storedType inspectConfig.customInfoTypes.surrogateType parent templateId"
    ),
    "gcp:dns/managedZone:ManagedZone": "dnsName name project visibility",
    "gcp:dns/policy:Policy": "dns64Config name project",
    "gcp:dns/recordSet:RecordSet": "managedZone name project routingPolicy.healthCheck",
    "gcp:iam/denyPolicy:DenyPolicy": "name parent",
    "gcp:iam/workloadIdentityPool:WorkloadIdentityPool": "project workloadIdentityPoolId",
    "gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider": (
        "project workloadIdentityPoolId workloadIdentityPoolProviderId"
    ),
    "gcp:kms/cryptoKey:CryptoKey": (
        "cryptoKeyBackend destroyScheduledDuration importOnly keyRing name purpose versionTemplate.protectionLevel"
    ),
    "gcp:kms/keyRing:KeyRing": "location name project",
    "gcp:logging/metric:Metric": "metricDescriptor.labels.key metricDescriptor.labels.valueType project",
    "gcp:logging/projectBucketConfig:ProjectBucketConfig": "bucketId location project",
    "gcp:logging/projectExclusion:ProjectExclusion": "name",
    "gcp:logging/projectSink:ProjectSink": "name",
    "gcp:lustre/instance:Instance": (
        "dynamicTierOptions filesystem instanceId kmsKey location network perUnitStorageThroughput project"
    ),
    "gcp:memorystore/aclPolicy:AclPolicy": "aclPolicyId location project",
    "gcp:memorystore/instance:Instance": (
        "authorizationMode desiredAutoCreatedEndpoints desiredPscAutoConnections gcsSource instanceId kmsKey "
        "location managedBackupSource mode project serverCaMode serverCaPool transitEncryptionMode "
        "zoneDistributionConfig"
    ),
    "gcp:modelarmor/floorsetting:Floorsetting": "location parent",
    "gcp:modelarmor/template:Template": "location project templateId",
    "gcp:monitoring/alertPolicy:AlertPolicy": "project",
    "gcp:monitoring/dashboard:Dashboard": "project",
    "gcp:monitoring/notificationChannel:NotificationChannel": "project",
    "gcp:networkconnectivity/serviceConnectionPolicy:ServiceConnectionPolicy": (
        "location name network project serviceClass"
    ),
    "gcp:orgpolicy/policy:Policy": "name parent",
    "gcp:projects/iAMAuditConfig:IAMAuditConfig": "project service",
    "gcp:projects/iAMCustomRole:IAMCustomRole": "project roleId",
    "gcp:projects/service:Service": "project service",
    "gcp:pubsub/subscription:Subscription": "enableMessageOrdering filter name project tags topic",
    "gcp:pubsub/topic:Topic": "name project tags",
    "gcp:secretmanager/secret:Secret": "project replication.userManaged.replicas.location secretId tags",
    "gcp:secretmanager/secretVersion:SecretVersion": "isSecretDataBase64 project secret secretData secretDataWoVersion",
    "gcp:serviceaccount/account:Account": "accountId project",
    "gcp:servicenetworking/connection:Connection": "network service",
    "gcp:serviceusage/consumerQuotaOverride:ConsumerQuotaOverride": "dimensions limit metric project service",
    "gcp:sql/database:Database": "instance name project",
    "gcp:sql/databaseInstance:DatabaseInstance": (
        "encryptionKeyName name project region replicaConfiguration.caCertificate "
        "replicaConfiguration.clientCertificate replicaConfiguration.clientKey "
        "replicaConfiguration.connectRetryInterval replicaConfiguration.dumpFilePath "
        "replicaConfiguration.failoverTarget replicaConfiguration.masterHeartbeatPeriod "
        "replicaConfiguration.password replicaConfiguration.sslCipher replicaConfiguration.username "
        "replicaConfiguration.verifyServerCertificate settings.collation"
    ),
    "gcp:sql/user:User": "host instance name project type",
    "gcp:storage/bucket:Bucket": (
        "customPlacementConfig.dataLocations enableObjectRetention hierarchicalNamespace location name project"
    ),
    "gcp:storage/bucketObject:BucketObject": (
        "bucket cacheControl contentDisposition contentEncoding contentLanguage contentType "
        "customerEncryption.encryptionAlgorithm customerEncryption.encryptionKey forceEmptyContentType "
        "kmsKeyName metadata name source storageClass"
    ),
    "gcp:vectorsearch/collection:Collection": "collectionId encryptionSpec location project",
    "gcp:vertex/aiEndpoint:AiEndpoint": (
        "encryptionSpec location name network privateServiceConnectConfig.enablePrivateServiceConnect project region"
    ),
    "gcp:vertex/aiTensorboard:AiTensorboard": "encryptionSpec project region",
    "gcp:workbench/instance:Instance": (
        "disableProxyAccess gceSetup.bootDisk.diskEncryption gceSetup.bootDisk.diskType "
        "gceSetup.bootDisk.kmsKey gceSetup.dataDisks.diskEncryption gceSetup.dataDisks.diskType "
        "gceSetup.dataDisks.kmsKey gceSetup.disablePublicIp gceSetup.enableIpForwarding "
        "gceSetup.networkInterfaces gceSetup.reservationAffinity gceSetup.serviceAccounts.email gceSetup.tags "
        "gceSetup.vmImage instanceId instanceOwners location name project"
    ),
    "gcp:workflows/workflow:Workflow": "name namePrefix project region tags",
    "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember": EVERYTHING,
    "gcp:bigquery/datasetIamMember:DatasetIamMember": EVERYTHING,
    "gcp:bigquery/iamMember:IamMember": EVERYTHING,
    "gcp:binaryauthorization/attestorIamMember:AttestorIamMember": EVERYTHING,
    "gcp:cloudrunv2/serviceIamMember:ServiceIamMember": EVERYTHING,
    "gcp:colab/runtimeTemplateIamMember:RuntimeTemplateIamMember": EVERYTHING,
    "gcp:containeranalysis/noteIamMember:NoteIamMember": EVERYTHING,
    "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember": EVERYTHING,
    "gcp:projects/iAMMember:IAMMember": EVERYTHING,
    "gcp:projects/serviceIdentity:ServiceIdentity": EVERYTHING,
    "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember": EVERYTHING,
    "gcp:pubsub/topicIAMMember:TopicIAMMember": EVERYTHING,
    "gcp:secretmanager/secretIamMember:SecretIamMember": EVERYTHING,
    "gcp:serviceaccount/iAMMember:IAMMember": EVERYTHING,
    "gcp:storage/bucketIAMMember:BucketIAMMember": EVERYTHING,
    "gcp:storage/notification:Notification": EVERYTHING,
    "gcp:vertex/aiEndpointIamMember:AiEndpointIamMember": EVERYTHING,
    "gcp:vertex/aiMetadataStore:AiMetadataStore": EVERYTHING,
    "gcp:workbench/instanceIamMember:InstanceIamMember": EVERYTHING,
    # Kubernetes. What a ConfigMap holds is updated, since our providers say `enableConfigMapMutable`.
    "kubernetes:apps/v1:DaemonSet": "spec.selector",
    "kubernetes:apps/v1:Deployment": "spec.selector",
    "kubernetes:apps/v1:StatefulSet": (
        "spec.podManagementPolicy spec.revisionHistoryLimit spec.selector spec.serviceName spec.volumeClaimTemplates"
    ),
    "kubernetes:batch/v1:Job": "spec.completions spec.parallelism spec.selector spec.template",
    "kubernetes:core/v1:PersistentVolume": "spec.csi spec.nfs",
    "kubernetes:core/v1:PersistentVolumeClaim": "spec",
    "kubernetes:core/v1:ResourceQuota": "spec.scopes",
    "kubernetes:core/v1:Secret": "data stringData type",
    "kubernetes:core/v1:Service": "spec.clusterIP",
    "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding": "roleRef",
    "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding": "roleRef",
    "kubernetes:storage.k8s.io/v1:StorageClass": "parameters provisioner",
}
REPLACED_BY: Mapping[str, frozenset[str]] = {type_: frozenset(paths.split()) for type_, paths in _FIXED.items()}
"""The same, split. A type with nothing is always updated in place."""
