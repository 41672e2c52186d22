//! etcd's errors. Clients know them by their text as much as by their code, so both
//! are etcd's to the letter (`api/v3rpc/rpctypes` there); the list is etcd 3.6's.

use tonic::{Code, Status};

macro_rules! faults {
    ($($name:ident: $code:ident $text:literal,)*) => {
        /// What a request can be refused with. Displays as the text that clients know.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Fault {
            $(#[doc = $text] $name,)*
        }

        impl Fault {
            /// Every one, in etcd's order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The gRPC status code that it travels with.
            pub const fn code(self) -> Code {
                match self {
                    $(Self::$name => Code::$code,)*
                }
            }

            /// The text that it travels with.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

faults! {
    EmptyKey: InvalidArgument "etcdserver: key is not provided",
    KeyNotFound: InvalidArgument "etcdserver: key not found",
    ValueProvided: InvalidArgument "etcdserver: value is provided",
    LeaseProvided: InvalidArgument "etcdserver: lease is provided",
    TooManyOps: InvalidArgument "etcdserver: too many operations in txn request",
    DuplicateKey: InvalidArgument "etcdserver: duplicate key given in txn request",
    InvalidClientApiVersion: InvalidArgument "etcdserver: invalid client api version",
    InvalidSortOption: InvalidArgument "etcdserver: invalid sort option",
    Compacted: OutOfRange "etcdserver: mvcc: required revision has been compacted",
    FutureRev: OutOfRange "etcdserver: mvcc: required revision is a future revision",
    NoSpace: ResourceExhausted "etcdserver: mvcc: database space exceeded",
    LeaseNotFound: NotFound "etcdserver: requested lease not found",
    LeaseExist: FailedPrecondition "etcdserver: lease already exists",
    LeaseTtlTooLarge: OutOfRange "etcdserver: too large lease TTL",
    WatchCanceled: Cancelled "etcdserver: watch canceled",
    MemberExist: FailedPrecondition "etcdserver: member ID already exist",
    PeerUrlExist: FailedPrecondition "etcdserver: Peer URLs already exists",
    MemberNotEnoughStarted: FailedPrecondition "etcdserver: re-configuration failed due to not enough started members",
    MemberBadUrls: InvalidArgument "etcdserver: given member URLs are invalid",
    MemberNotFound: NotFound "etcdserver: member not found",
    MemberNotLearner: FailedPrecondition "etcdserver: can only promote a learner member",
    LearnerNotReady: FailedPrecondition "etcdserver: can only promote a learner member which is in sync with leader",
    TooManyLearners: FailedPrecondition "etcdserver: too many learner members in cluster",
    ClusterIdMismatch: FailedPrecondition "etcdserver: cluster ID mismatch",
    RequestTooLarge: InvalidArgument "etcdserver: request is too large",
    RequestTooManyRequests: ResourceExhausted "etcdserver: too many requests",
    RootUserNotExist: FailedPrecondition "etcdserver: root user does not exist",
    RootRoleNotExist: FailedPrecondition "etcdserver: root user does not have root role",
    UserAlreadyExist: FailedPrecondition "etcdserver: user name already exists",
    UserEmpty: InvalidArgument "etcdserver: user name is empty",
    UserNotFound: FailedPrecondition "etcdserver: user name not found",
    RoleAlreadyExist: FailedPrecondition "etcdserver: role name already exists",
    RoleNotFound: FailedPrecondition "etcdserver: role name not found",
    RoleEmpty: InvalidArgument "etcdserver: role name is empty",
    AuthFailed: InvalidArgument "etcdserver: authentication failed, invalid user ID or password",
    PermissionNotGiven: InvalidArgument "etcdserver: permission not given",
    PermissionDenied: PermissionDenied "etcdserver: permission denied",
    RoleNotGranted: FailedPrecondition "etcdserver: role is not granted to the user",
    PermissionNotGranted: FailedPrecondition "etcdserver: permission is not granted to the role",
    AuthNotEnabled: FailedPrecondition "etcdserver: authentication is not enabled",
    InvalidAuthToken: Unauthenticated "etcdserver: invalid auth token",
    InvalidAuthMgmt: InvalidArgument "etcdserver: invalid auth management",
    AuthOldRevision: InvalidArgument "etcdserver: revision of auth store is old",
    NoLeader: Unavailable "etcdserver: no leader",
    NotLeader: FailedPrecondition "etcdserver: not leader",
    LeaderChanged: Unavailable "etcdserver: leader changed",
    NotCapable: FailedPrecondition "etcdserver: not capable",
    Stopped: Unavailable "etcdserver: server stopped",
    Timeout: Unavailable "etcdserver: request timed out",
    TimeoutDueToLeaderFail: Unavailable "etcdserver: request timed out, possibly due to previous leader failure",
    TimeoutDueToConnectionLost: Unavailable "etcdserver: request timed out, possibly due to connection lost",
    TimeoutWaitAppliedIndex: Unavailable "etcdserver: request timed out, waiting for the applied index took too long",
    Unhealthy: Unavailable "etcdserver: unhealthy cluster",
    Corrupt: DataLoss "etcdserver: corrupt cluster",
    NotSupportedForLearner: FailedPrecondition "etcdserver: rpc not supported for learner",
    BadLeaderTransferee: FailedPrecondition "etcdserver: bad leader transferee",
    WrongDowngradeVersionFormat: InvalidArgument "etcdserver: wrong downgrade target version format",
    InvalidDowngradeTargetVersion: InvalidArgument "etcdserver: invalid downgrade target version",
    ClusterVersionUnavailable: FailedPrecondition "etcdserver: cluster version not found during downgrade",
    DowngradeInProcess: FailedPrecondition "etcdserver: cluster has a downgrade job in progress",
    NoInflightDowngrade: FailedPrecondition "etcdserver: no inflight downgrade job",
    Canceled: Cancelled "etcdserver: request canceled",
    DeadlineExceeded: DeadlineExceeded "etcdserver: context deadline exceeded",
}

impl Fault {
    /// What a server meant by its answer. `None`: none of etcd's errors.
    ///
    /// Some texts reach clients with another code than their own, so only the text
    /// counts, as in etcd's client.
    pub fn of(status: &Status) -> Option<Self> {
        let known = |fault: &&Self| fault.text() == status.message();
        Self::ALL.iter().find(known).copied()
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        Self::new(fault.code(), fault.text())
    }
}
