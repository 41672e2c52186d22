//! Keys that systemd has and this PID 1 does not act on: told apart from spelling mistakes.

/// Sections of unit types that are not run.
pub(super) const SECTIONS: [&str; 4] = ["Automount", "Swap", "Scope", "Container"];

/// systemd.unit(5) of systemd 252.
const UNIT: &str = " \
    JoinsNamespaceOf \
    FailureActionExitStatus SuccessActionExitStatus \
    JobTimeoutRebootArgument RebootArgument SourcePath ConditionFirmware ConditionSecurity \
    ConditionCapability ConditionACPower ConditionNeedsUpdate ConditionPathExistsGlob \
    ConditionPathIsEncrypted ConditionUser ConditionGroup ConditionControlGroupController ConditionMemory \
    ConditionCPUs ConditionCPUFeature ConditionOSRelease ConditionMemoryPressure ConditionCPUPressure \
    ConditionIOPressure ConditionKernelVersion ConditionCredential ConditionEnvironment \
    AssertFirmware AssertSecurity AssertCapability AssertACPower AssertNeedsUpdate AssertPathExistsGlob \
    AssertPathIsEncrypted AssertUser AssertGroup AssertControlGroupController AssertMemory AssertCPUs \
    AssertCPUFeature AssertOSRelease AssertMemoryPressure AssertCPUPressure AssertIOPressure \
    AssertKernelVersion AssertCredential AssertEnvironment StartLimitInterval SurviveFinalKillSignal ";

/// systemd.unit(5), [Install].
const INSTALL: &str = "";

/// systemd.socket(5).
const SOCKET: &str = "ListenSpecial ListenNetlink ListenMessageQueue ListenUSBFunction SocketProtocol Writable FlushPending \
    MaxConnectionsPerSource DeferAcceptSec IPTOS IPTTL PipeSize TCPCongestion PassSecurity PassPacketInfo PassPIDFD \
    PassFileDescriptorsToExec Timestamping SELinuxContextFromNet SmackLabel SmackLabelIPIn SmackLabelIPOut \
    MessageQueueMaxMessages MessageQueueMessageSize PollLimitIntervalSec PollLimitBurst AcceptFileDescriptors \
    DeferTrigger DeferTriggerMaxSec";

/// systemd.timer(5).
const TIMER: &str = "WakeSystem DeferReactivation RandomizedOffsetSec";

/// systemd.service(5), systemd.exec(5), systemd.kill(5), systemd.resource-control(5) of systemd 252.
const SERVICE: &str = " Delegate GuessMainPID BusName BusPolicy TimeoutStartFailureMode \
    TimeoutStopFailureMode RuntimeRandomizedExtraSec \
    RootDirectoryStartOnly \
    USBFunctionDescriptors USBFunctionStrings OOMPolicy OpenFile \
    PermissionsStartOnly RootDirectory RootImage RootImageOptions RootEphemeral RootHash \
    RootHashSignature RootVerity MountAPIVFS BindLogSockets ProtectProc ProcSubset BindPaths BindReadOnlyPaths \
    MountImages ExtensionImages ExtensionDirectories DynamicUser PAMName SecureBits SELinuxContext AppArmorProfile \
    SmackProcessLabel KeyringMode OOMScoreAdjust TimerSlackNSec Personality CPUSchedulingPolicy \
    CPUSchedulingPriority CPUSchedulingResetOnFork CPUAffinity NUMAPolicy NUMAMask IOSchedulingClass \
    IOSchedulingPriority CoredumpFilter ProtectSystem ProtectHome TimeoutCleanSec ReadWritePaths ReadOnlyPaths \
    InaccessiblePaths ExecPaths NoExecPaths TemporaryFileSystem PrivateTmp PrivateDevices PrivateNetwork \
    NetworkNamespacePath PrivateIPC IPCNamespacePath MemoryKSM PrivatePIDs PrivateUsers ProtectHostname ProtectClock \
    ProtectKernelTunables ProtectKernelModules ProtectKernelLogs ProtectControlGroups RestrictAddressFamilies \
    RestrictFileSystems RestrictNamespaces LockPersonality MemoryDenyWriteExecute RestrictRealtime RestrictSUIDSGID \
    RemoveIPC PrivateMounts MountFlags SystemCallFilter SystemCallErrorNumber SystemCallArchitectures \
    SystemCallLog LogExtraFields LogRateLimitIntervalSec LogRateLimitBurst LogFilterPatterns LogNamespace \
    LogLevelMax SyslogFacility StandardInputText StandardInputData TTYReset TTYVHangup TTYRows TTYColumns \
    TTYVTDisallocate LoadCredential LoadCredentialEncrypted ImportCredential SetCredential SetCredentialEncrypted \
    UtmpIdentifier UtmpMode ReadWriteDirectories ReadOnlyDirectories InaccessibleDirectories StartupCPUWeight \
    CPUQuotaPeriodSec AllowedCPUs StartupAllowedCPUs AllowedMemoryNodes StartupAllowedMemoryNodes DefaultMemoryMin \
    DefaultMemoryLow DefaultStartupMemoryLow StartupMemoryLow StartupMemoryHigh StartupMemoryMax \
    StartupMemorySwapMax MemoryZSwapMax MemoryZSwapWriteback StartupIOWeight IODeviceWeight IOReadBandwidthMax \
    IOWriteBandwidthMax IOReadIOPSMax IOWriteIOPSMax IODeviceLatencyTargetSec IPAccounting IPAddressAllow \
    IPAddressDeny SocketBindAllow SocketBindDeny RestrictNetworkInterfaces NFTSet IPIngressFilterPath \
    IPEgressFilterPath BPFProgram DeviceAllow DevicePolicy DisableControllers ManagedOOMSwap \
    ManagedOOMMemoryPressure ManagedOOMMemoryPressureLimit ManagedOOMPreference MemoryPressureWatch \
    MemoryPressureThresholdSec CoredumpReceive DelegateSubgroup CPUShares StartupCPUShares BlockIOAccounting \
    BlockIOWeight StartupBlockIOWeight BlockIODeviceWeight BlockIOReadBandwidth BlockIOWriteBandwidth MemoryLimit \
    SysVStartPriority PassPIDFD Capabilities TCPWrapName ";

/// Whether systemd knows the key in that section.
pub(super) fn is_known(section: &str, key: &str) -> bool {
    let keys = match section {
        "Unit" => UNIT,
        "Install" => INSTALL,
        "Timer" => TIMER,
        _ => SERVICE,
    };
    let socket = if section == "Socket" { SOCKET } else { "" };
    keys.split_ascii_whitespace().chain(socket.split_ascii_whitespace()).any(|known| known == key)
}
