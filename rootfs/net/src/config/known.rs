//! Keys that systemd has (253) and this service does not act upon: told apart from spelling mistakes.

const MATCH: &str = " Credential Firmware \
    PermanentMACAddress WLANInterfaceType SSID BSSID Property Name OriginalName Path Driver Type Kind MACAddress ";

/// `.network`: section, keys.
const NETWORK: &[(&str, &str)] = &[
    ("Match", MATCH),
    ("Link", " Group RequiredFamilyForOnline BindCarrier Description "),
    (
        "Network",
        " DHCPServer IPv6LinkLocalAddressGenerationMode IPv6StableSecretAddress IPv4LLStartAddress IPv4LLRoute \
         MulticastDNS DNSOverTLS DNSSEC DNSSECNegativeTrustAnchors LLDP EmitLLDP BindCarrier IPMasquerade \
         \
         IPv6ProxyNDPAddress IPv6SendRA DHCPPrefixDelegation \
         KeepMaster BatmanAdvanced VRF IPoIB MACsec Tunnel ActiveSlave PrimarySlave \
         IgnoreCarrierLoss KeepConfiguration Xfrm IPv6Token ",
    ),
    (
        "Address",
        " Peer Broadcast Label HomeAddress DuplicateAddressDetection ManageTemporaryAddress AddPrefixRoute \
         AutoJoin NetLabel NFTSet RouteMetric ",
    ),
    (
        "Route",
        " IPv6Preference \
         FastOpenNoCookie TTLPropagate TCPAdvertisedMaximumSegmentSize MultiPathRoute NextHop \
         TCPCongestionControlAlgorithm TCPRetransmissionTimeoutSec HopLimit ",
    ),
    ("RoutingPolicyRule", " User SuppressInterfaceGroup L3MasterDevice GoTo "),
    (
        "DHCPv4",
        " MUDURL VendorClassIdentifier UserClass DUIDType DUIDRawData IAIDType Anonymize RequestOptions SendOption \
         SendVendorOption UseSIP UseTimezone FallbackLeaseLifetimeSec RequestBroadcast MaxAttempts ListenPort \
         DenyList AllowList RouteTable RouteMTUBytes IPServiceType SocketPriority Label InitialCongestionWindow \
         InitialAdvertisedReceiveWindow QuickAck RapidCommit IAID NetLabel NFTSet UseCaptivePortal Use6RD \
         IPv6OnlyMode UseGateway RoutesToDNS RoutesToNTP CriticalConnection BlackList ",
    ),
    (
        "DHCPv6",
        " MUDURL IAID DUIDType DUIDRawData RequestOptions SendOption SendVendorOption UserClass VendorClass \
         PrefixDelegationHint UnassignedSubnetPolicy RapidCommit SendHostname Hostname UseHostname \
         UseDelegatedPrefix UseCaptivePortal SendRelease NetLabel NFTSet ",
    ),
    (
        "IPv6AcceptRA",
        " Token UseGateway UseRoutePrefix UseAutonomousPrefix UseOnLinkPrefix UseMTU UseHopLimit UseICMP6RateLimit \
         UseReachableTime UseRetransmissionTime UseRedirect UseCaptivePortal UsePREF64 RouteDenyList RouteAllowList \
         PrefixDenyList PrefixAllowList RouterDenyList RouterAllowList RouteTable RouteMetric QuickAck NetLabel ",
    ),
];

const NETWORK_SECTIONS: &str = " SR-IOV Neighbor IPv6AddressLabel NextHop DHCPServer \
    DHCPServerStaticLease DHCPPrefixDelegation IPv6SendRA IPv6Prefix IPv6RoutePrefix IPv6PREF64Prefix Bridge \
    BridgeFDB BridgeMDB BridgeVLAN LLDP CAN IPoIB QDisc NetworkEmulator TokenBucketFilter PIE FlowQueuePIE \
    StochasticFairBlue StochasticFairnessQueueing BFIFO PFIFO PFIFOHeadDrop PFIFOFast CAKE ControlledDelay \
    DeficitRoundRobinScheduler DeficitRoundRobinSchedulerClass EnhancedTransmissionSelection \
    GenericRandomEarlyDetection FairQueueingControlledDelay FairQueueing TrivialLinkEqualizer HierarchyTokenBucket \
    HierarchyTokenBucketClass HeavyHitterFilter QuickFairQueueing QuickFairQueueingClass DHCP ";

const NETDEV: &[(&str, &str)] = &[
    ("Match", MATCH),
    ("NetDev", " Description "),
    ("VLAN", " EgressQOSMaps IngressQOSMaps "),
    ("MACVLAN", " SourceMACAddress BroadcastMulticastQueueLength BroadcastQueueThreshold "),
    ("MACVTAP", " SourceMACAddress BroadcastMulticastQueueLength BroadcastQueueThreshold "),
    ("Tun", " KeepCarrier OneQueue "),
    ("Tap", " KeepCarrier OneQueue "),
    (
        "VXLAN",
        " TOS TTL FDBAgeingSec MaximumFDBEntries ReduceARPProxy L2MissNotification L3MissNotification \
         RouteShortCircuit UDPChecksum UDP6ZeroChecksumTx UDP6ZeroChecksumRx RemoteChecksumTx RemoteChecksumRx \
         GroupPolicyExtension GenericProtocolExtension PortRange FlowLabel IPDoNotFragment VNIFilter ",
    ),
    ("Peer", " "),
    ("Bond", " AdActorSystem "),
];

const NETDEV_SECTIONS: &str = " GENEVE BareUDP L2TP L2TPSession MACsec \
    MACsecReceiveChannel MACsecTransmitChannel MACsecTransmitAssociation MACsecReceiveAssociation Tunnel \
    FooOverUDP VXCAN WireGuard WireGuardPeer Xfrm VRF BatmanAdvanced IPoIB WLAN ";

const LINK: &[(&str, &str)] = &[
    ("Match", MATCH),
    (
        "Link",
        " Description Alias MACAddressPolicy NamePolicy AlternativeNamesPolicy AlternativeName TransmitQueues \
         ReceiveQueues TransmitQueueLength BitsPerSecond Duplex AutoNegotiation WakeOnLan WakeOnLanPassword Port \
         Advertise ReceiveChecksumOffload TransmitChecksumOffload TCPSegmentationOffload TCP6SegmentationOffload \
         GenericSegmentationOffload GenericReceiveOffload GenericReceiveOffloadHardware LargeReceiveOffload \
         ReceivePacketSteeringCPUMask ReceiveVLANCTAGHardwareAcceleration TransmitVLANCTAGHardwareAcceleration \
         ReceiveVLANCTAGFilter TransmitVLANSTAGHardwareAcceleration NTupleFilter RxChannels TxChannels \
         OtherChannels CombinedChannels RxBufferSize RxMiniBufferSize RxJumboBufferSize TxBufferSize \
         RxFlowControl TxFlowControl AutoNegotiationFlowControl GenericSegmentOffloadMaxBytes \
         GenericSegmentOffloadMaxSegments UseAdaptiveRxCoalesce UseAdaptiveTxCoalesce RxCoalesceSec TxCoalesceSec \
         RxMaxCoalescedFrames TxMaxCoalescedFrames Unmanaged MDI SR-IOVVirtualFunctions ",
    ),
];

fn table(kind: &str) -> (&'static [(&'static str, &'static str)], &'static str) {
    match kind {
        "network" => (NETWORK, NETWORK_SECTIONS),
        "netdev" => (NETDEV, NETDEV_SECTIONS),
        _ => (LINK, " SR-IOV "),
    }
}

/// Whether systemd has this key in this section of a `kind` file and this service does not.
pub(super) fn key(kind: &str, section: &str, key: &str) -> bool {
    let (keys, _) = table(kind);
    // Old names of sections.
    let section = match section {
        "DHCP" => "DHCPv4",
        "IPv6AcceptRouterAdvertisements" => "IPv6AcceptRA",
        section => section,
    };
    keys.iter().any(|(name, keys)| *name == section && keys.contains(&format!(" {key} ")))
}

/// The same of a whole section.
pub(super) fn section(kind: &str, section: &str) -> bool {
    table(kind).1.contains(&format!(" {section} "))
}
