//! All codes. The list of them is made of the same lines as the codes, so that it lacks none.

use serde::{Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! codes {
    ($($name:ident = $code:literal,)+) => {
        /// What a [`super::Reason`] is called; pages know a text for each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is described where it is used, and by its text in web/assets/js/i18n/en.js")]
        pub enum Code { $($name,)+ }

        impl Code {
            /// All of them, as they are written.
            pub const ALL: &[&str] = &[$($code,)+];

            /// As it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }
        }
    };
}

codes! {
    // Why a stream failed
    LegFailed = "leg_failed",
    BrokerUnreachable = "broker_unreachable",
    CameraOffline = "camera_offline",
    NoRtp = "no_rtp",
    NoRtpUnheard = "no_rtp_unheard",
    ForeignSsrc = "foreign_ssrc",
    StreamBroke = "stream_broke",

    // Why a viewer is gone
    ViewerLeft = "viewer_left",
    Expelled = "expelled",
    ViewerLost = "viewer_lost",
    HandshakeFailed = "handshake_failed",
    NeverConnected = "never_connected",
    StreamStopped = "stream_stopped",
    StreamFailed = "stream_failed",
    StreamEnded = "stream_ended",
    ShuttingDown = "shutting_down",
    WorkerLost = "worker_lost",
    MediaServerLost = "media_server_lost",
    StreamMoves = "stream_moves",

    // Why a stream does not start, or a viewer cannot watch
    AlreadyStreaming = "already_streaming",
    BadBounds = "bad_bounds",
    StreamLimit = "stream_limit",
    NoBandwidth = "no_bandwidth",
    NoPorts = "no_ports",
    ViewerLimit = "viewer_limit",
    BadOffer = "bad_offer",
    BadCandidate = "bad_candidate",
    Overloaded = "overloaded",
    NoMediaServer = "no_media_server",
    MediaServerFailed = "media_server_failed",
    EngineCannot = "engine_cannot",
    EngineFailed = "engine_failed",
    NoStream = "no_stream",
    UnknownViewer = "unknown_viewer",

    // Why a viewer's voice does not reach the camera
    Talker = "talker",
    SomebodyTalks = "somebody_talks",
    CameraSilent = "camera_silent",
    NoVoice = "no_voice",
    MayNotTalk = "may_not_talk",
    WatchFirst = "watch_first",
    TurnIsOver = "turn_is_over",
    TalkBrokeOff = "talk_broke_off",

    // What concerns a camera
    NoCamera = "no_camera",
    UnknownCamera = "unknown_camera",
    CameraNotConnected = "camera_not_connected",
    CameraNotTold = "camera_not_told",
    NotKept = "not_kept",
    Privacy = "privacy",
    NoPicture = "no_picture",
    BadCameraId = "bad_camera_id",
    LabelTooLong = "label_too_long",
    ControlCharacter = "control_character",

    // What concerns accounts
    LogInFirst = "log_in_first",
    NeedsAccount = "needs_account",
    NeedsOperator = "needs_operator",
    NeedsAdmin = "needs_admin",
    NeedsLogin = "needs_login",
    AccountsOff = "accounts_off",
    WrongPassword = "wrong_password",
    TooManyLogins = "too_many_logins",
    LoginsBusy = "logins_busy",
    PasswordTooShort = "password_too_short",
    PasswordTooLong = "password_too_long",
    BadName = "bad_name",
    NameTaken = "name_taken",
    BadLabel = "bad_label",
    TooMany = "too_many",
    LastAdmin = "last_admin",
    AdminSeesAll = "admin_sees_all",
    MoreThanOneMay = "more_than_one_may",
    EndIsPast = "end_is_past",
    NoSuchThing = "no_such_thing",
    AtProvider = "at_provider",
    NoRoleAtProvider = "no_role_at_provider",
    OldSetupLink = "old_setup_link",
    ShareOver = "share_over",
    DatabaseAway = "database_away",

    // What concerns other programs
    NotificationsOff = "notifications_off",
    NoWebhooks = "no_webhooks",

    // Why a receiver of events, or a device, did not take what it was sent
    ReceiverNotPublic = "receiver_not_public",
    ReceiverUnknown = "receiver_unknown",
    ReceiverNoAddress = "receiver_no_address",
    ReceiverUnreachable = "receiver_unreachable",
    ReceiverTls = "receiver_tls",
    ReceiverNoHttp = "receiver_no_http",
    ReceiverSilent = "receiver_silent",
    ReceiverRedirects = "receiver_redirects",
    ReceiverRefuses = "receiver_refuses",
    DeviceUnusable = "device_unusable",
    DeviceNotAllowed = "device_not_allowed",
    DeviceUnreachable = "device_unreachable",
    DeviceGone = "device_gone",
    DeviceLater = "device_later",
    DeviceRefused = "device_refused",
    TestUnderWay = "test_under_way",

    // Why a client is refused at the embedded broker
    MqttNoCertificate = "mqtt_no_certificate",
    MqttForeignCertificate = "mqtt_foreign_certificate",
    MqttCertificateDate = "mqtt_certificate_date",
    MqttDistrustsUs = "mqtt_distrusts_us",
    MqttItsClock = "mqtt_its_clock",
    MqttNotTls = "mqtt_not_tls",
    MqttHungUp = "mqtt_hung_up",
    MqttNoHello = "mqtt_no_hello",
    MqttStranger = "mqtt_stranger",
    MqttAnothersCertificate = "mqtt_anothers_certificate",
    MqttRevoked = "mqtt_revoked",
    MqttFull = "mqtt_full",
    MqttRefused = "mqtt_refused",

    // What the doctor finds
    AddressGood = "address_good",
    AddressNotOurs = "address_not_ours",
    AddressLoopback = "address_loopback",
    AddressOfContainer = "address_of_container",
    ExternalToForward = "external_to_forward",
    ExternalToForwardToKurento = "external_to_forward_to_kurento",
    MediaBoundHere = "media_bound_here",
    PortTaken = "port_taken",
    AddressNotHere = "address_not_here",
    PortNotAllowed = "port_not_allowed",
    PortRefused = "port_refused",
    IngestPorts = "ingest_ports",
    NoIngestPorts = "no_ingest_ports",
    PublishedAuthority = "published_authority",
    BrokerHereOnly = "broker_here_only",
    BrokerCertificatesGood = "broker_certificates_good",
    BrokerCertificatesBad = "broker_certificates_bad",
    BrokerCertificateElsewhere = "broker_certificate_elsewhere",
    BrokerAnswers = "broker_answers",
    BrokerRefuses = "broker_refuses",
    BrokerSilent = "broker_silent",
    CertificateGood = "certificate_good",
    CertificateEnds = "certificate_ends",
    CertificateEnded = "certificate_ended",
    CertificateNotYet = "certificate_not_yet",
    CertificateUnusable = "certificate_unusable",
    CertificateElsewhere = "certificate_elsewhere",
    CertificateByName = "certificate_by_name",
    ChainBroken = "chain_broken",
    ChainShort = "chain_short",
    PlainHttp = "plain_http",
    AcmeNotYet = "acme_not_yet",
    AcmeAway = "acme_away",
    AcmeComesByHttp = "acme_comes_by_http",
    AcmeComesByTls = "acme_comes_by_tls",
    ProviderAway = "provider_away",
    ProviderUnused = "provider_unused",
    ProviderPlain = "provider_plain",
    KeysUnreadable = "keys_unreadable",
    KeysAway = "keys_away",
    DatabaseOlder = "database_older",
    DatabaseOpen = "database_open",
    DatabaseUnusable = "database_unusable",
    DatabaseUnverified = "database_unverified",
    DirectoryUnwritable = "directory_unwritable",
    MediaServerAway = "media_server_away",
    AllDrained = "all_drained",
    WebhookPlain = "webhook_plain",
    WebhookAway = "webhook_away",
    AccountsOffOpen = "accounts_off_open",
    BrokerPlainOpen = "broker_plain_open",
    BrokerNameUnchecked = "broker_name_unchecked",
    ExternalAtHome = "external_at_home",
    BitrateBeyond = "bitrate_beyond",

    // What concerns requests
    TooFast = "too_fast",
    ForeignPage = "foreign_page",
    ForeignName = "foreign_name",
    TooManySockets = "too_many_sockets",
    TooLong = "too_long",
    TooSlow = "too_slow",

    // By the kind of refusal alone, where the text says more than a page needs to
    BadRequest = "bad_request",
    Forbidden = "forbidden",
    NotFound = "not_found",
    Conflict = "conflict",
    Refused = "refused",
    Unavailable = "unavailable",
    Internal = "internal",
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(Self::ALL.iter().copied()))
            .description(Some(
                "Stays the same from version to version. More may come: whoever does not know one shows the text beside it.",
            ));
        schema.into()
    }
}

impl ToSchema for Code {}
