//! Keys that systemd has and this PID 1 does not act on: told apart from spelling mistakes.

/// Sections of unit types that are not run.
pub(super) const SECTIONS: [&str; 4] = ["Automount", "Swap", "Scope", "Container"];

/// systemd.unit(5) of systemd 252.
const UNIT: &str = " \
    FailureActionExitStatus SuccessActionExitStatus JobTimeoutRebootArgument \
    RebootArgument SourcePath ConditionPathIsEncrypted ConditionMemoryPressure ConditionCPUPressure \
    ConditionIOPressure AssertPathIsEncrypted AssertMemoryPressure AssertCPUPressure AssertIOPressure \
    SurviveFinalKillSignal ";

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
const SERVICE: &str = " \
    RebootArgument BusName TimeoutStartFailureMode TimeoutStopFailureMode RuntimeRandomizedExtraSec \
    RootDirectoryStartOnly USBFunctionDescriptors USBFunctionStrings OpenFile RootImage RootImageOptions \
    RootEphemeral RootHash RootHashSignature RootVerity BindLogSockets MountImages ExtensionImages \
    ExtensionDirectories OOMScoreAdjust NetworkNamespacePath IPCNamespacePath MemoryKSM PrivatePIDs \
    LogFilterPatterns LogNamespace LoadCredentialEncrypted ImportCredential SetCredentialEncrypted \
    UtmpIdentifier DefaultMemoryMin DefaultMemoryLow DefaultStartupMemoryLow \
    MemoryZSwapWriteback NFTSet BPFProgram \
    DisableControllers MemoryPressureWatch MemoryPressureThresholdSec CoredumpReceive DelegateSubgroup \
    PassPIDFD Capabilities TCPWrapName ";

/// Keys that a unit runs without, with what is missing: `systemctl verify` warns of them.
const NOT_ENFORCED: [(&str, &str); 10] = [
    (
        "DeviceAllow DevicePolicy",
        "device lists need BPF programs in cgroups, which PID 1 does not load; PrivateDevices= works",
    ),
    (
        "IPAccounting IPAddressAllow IPAddressDeny IPIngressFilterPath IPEgressFilterPath SocketBindAllow \
        SocketBindDeny RestrictNetworkInterfaces",
        "network lists need BPF programs in cgroups, which PID 1 does not load; PrivateNetwork= works",
    ),
    ("RestrictFileSystems", "it needs BPF programs in the kernel's security hooks"),
    ("PAMName", "there is no PAM; User= and the limits of the unit hold"),
    ("SELinuxContext AppArmorProfile SmackProcessLabel", "the kernel runs no such security module"),
    ("NUMAPolicy NUMAMask", "memory is taken from every node"),
    ("SyslogFacility", "the journal keeps what the unit says, as it says it"),
    ("RemoveIPC", "IPC objects of the user stay; PrivateIPC= works"),
    ("TTYVTDisallocate TTYRows TTYColumns", "there are no virtual terminals"),
    (
        "UtmpMode SystemCallLog ManagedOOMSwap ManagedOOMMemoryPressure ManagedOOMMemoryPressureLimit \
        ManagedOOMPreference TimeoutCleanSec GuessMainPID BusPolicy SysVStartPriority",
        "nothing on this machine looks at it",
    ),
];

/// Why a key is not enforced though the unit runs; `None` if it is another key.
pub(super) fn not_enforced(section: &str, key: &str) -> Option<&'static str> {
    let found = NOT_ENFORCED.iter().find(|(keys, _)| keys.split_ascii_whitespace().any(|known| known == key));
    found.filter(|_| !matches!(section, "Unit" | "Install")).map(|(_, why)| *why)
}

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
