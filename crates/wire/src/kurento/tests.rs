//! Texts of a recorded conversation with a 7.3 server.

use serde_json::{Value, json};

use super::*;

fn json_of(request: &Request) -> Value {
    serde_json::from_str(&request.to_json(7, Some("s"))).unwrap()
}

fn invoke(operation: Operation) -> Request {
    Request::Invoke {
        object: ObjectId::new("pipe/endpoint"),
        operation,
    }
}

#[test]
fn requests_are_written_as_recorded() {
    let pipeline = ObjectId::new("pipe");
    let cases = [
        (
            Request::Ping {
                interval_ms: 240_000,
            },
            json!({"id": 7, "method": "ping", "params": {"interval": 240000, "sessionId": "s"}, "jsonrpc": "2.0"}),
        ),
        (
            Request::Connect,
            json!({"id": 7, "method": "connect", "params": {"sessionId": "s"}, "jsonrpc": "2.0"}),
        ),
        (
            Request::CreateRtpEndpoint { pipeline },
            json!({"id": 7, "method": "create", "params": {"type": "RtpEndpoint",
                "constructorParams": {"mediaPipeline": "pipe"}, "sessionId": "s"}, "jsonrpc": "2.0"}),
        ),
        (
            invoke(Operation::SetMaxVideoRecvBandwidth(1500)),
            json!({"id": 7, "method": "invoke", "params": {"object": "pipe/endpoint",
                "operation": "setMaxVideoRecvBandwidth", "operationParams": {"maxVideoRecvBandwidth": 1500},
                "sessionId": "s"}, "jsonrpc": "2.0"}),
        ),
        (
            invoke(Operation::GatherCandidates),
            json!({"id": 7, "method": "invoke", "params": {"object": "pipe/endpoint",
                "operation": "gatherCandidates", "sessionId": "s"}, "jsonrpc": "2.0"}),
        ),
        (
            invoke(Operation::AddIceCandidate(IceCandidate {
                candidate: "candidate:1 1 UDP 2015363327 10.77.0.1 3920 typ host".to_owned(),
                sdp_mid: "audio0".to_owned(),
                sdp_m_line_index: 0,
            })),
            json!({"id": 7, "method": "invoke", "params": {"object": "pipe/endpoint",
                "operation": "addIceCandidate", "operationParams": {"candidate": {
                    "__module__": "kurento", "__type__": "IceCandidate",
                    "candidate": "candidate:1 1 UDP 2015363327 10.77.0.1 3920 typ host",
                    "sdpMLineIndex": 0, "sdpMid": "audio0"}}, "sessionId": "s"}, "jsonrpc": "2.0"}),
        ),
        (
            Request::Subscribe {
                object: ObjectId::server_manager(),
                event: EventName::IceCandidateFound,
            },
            json!({"id": 7, "method": "subscribe", "params": {"type": "IceCandidateFound",
                "object": "manager_ServerManager", "sessionId": "s"}, "jsonrpc": "2.0"}),
        ),
    ];
    for (request, expected) in cases {
        assert_eq!(json_of(&request), expected);
    }
    let first: Value = serde_json::from_str(&Request::Connect.to_json(1, None)).unwrap();
    assert_eq!(first["params"], json!({}), "the first has no session yet");
}

#[test]
fn replies_are_read_as_recorded() {
    let parse = |text| Incoming::parse(text).unwrap();
    let Incoming::Reply {
        id: 2,
        outcome: Ok(reply),
    } = parse(
        r#"{"id":2,"jsonrpc":"2.0","result":{"serverId":"f644db68","sessionId":"39ed4e77"}}"#,
    )
    else {
        panic!("a reply");
    };
    let session = reply.session().unwrap();
    assert_eq!(
        (session.server_id.as_str(), session.session_id.as_str()),
        ("f644db68", "39ed4e77")
    );

    let Incoming::Reply {
        outcome: Ok(reply), ..
    } = parse(
        r#"{"id":3,"jsonrpc":"2.0","result":{"sessionId":"s","value":"1f22_kurento.MediaPipeline"}}"#,
    )
    else {
        panic!("a reply");
    };
    assert_eq!(
        reply.object(),
        Some(ObjectId::new("1f22_kurento.MediaPipeline"))
    );

    let Incoming::Reply {
        id: 37,
        outcome: Err(error),
    } = parse(
        r#"{"error":{"code":40208,"data":{"type":"SDP_END_POINT_ALREADY_NEGOTIATED"},"message":"Endpoint already negotiated"},"id":37,"jsonrpc":"2.0"}"#,
    )
    else {
        panic!("an error");
    };
    assert_eq!(error.kind(), RpcErrorKind::AlreadyNegotiated);
    assert_eq!(
        error.to_string(),
        "Endpoint already negotiated (error 40208)"
    );

    assert_eq!(
        parse(
            r#"{"error":{"code":-32600,"message":"Invalid JSON-RPC request."},"id":null,"jsonrpc":"2.0"}"#
        ),
        Incoming::Complaint(RpcError {
            code: -32600,
            message: "Invalid JSON-RPC request.".to_owned()
        })
    );
    // `closeSession` and `release` give nothing.
    for text in [
        r#"{"id":4,"result":null}"#,
        r#"{"id":4,"result":{"sessionId":"s"}}"#,
    ] {
        let Incoming::Reply {
            id: 4,
            outcome: Ok(reply),
        } = parse(text)
        else {
            panic!("a reply");
        };
        assert_eq!(reply.value(), &Value::Null);
    }
}

#[test]
fn events_are_read_as_recorded() {
    let event = |kind: &str, data: &str| {
        let text = format!(
            r#"{{"jsonrpc":"2.0","method":"onEvent","params":{{"value":{{"data":{data},"object":"p/e","type":"{kind}"}}}}}}"#
        );
        Incoming::parse(&text).unwrap()
    };
    let known = |data| {
        Incoming::Event(Event {
            object: ObjectId::new("p/e"),
            data,
        })
    };
    let candidate = r#"{"candidate":{"__module__":"kurento","__type__":"IceCandidate","candidate":"candidate:1 1 UDP 2015363327 10.77.0.1 3920 typ host","sdpMLineIndex":1,"sdpMid":"video0"},"source":"p/e","tags":[],"timestampMillis":"1795354577220","type":"IceCandidateFound"}"#;
    let expected = known(EventData::Candidate(IceCandidate {
        candidate: "candidate:1 1 UDP 2015363327 10.77.0.1 3920 typ host".to_owned(),
        sdp_mid: "video0".to_owned(),
        sdp_m_line_index: 1,
    }));
    assert_eq!(event("IceCandidateFound", candidate), expected);
    assert_eq!(event("OnIceCandidate", candidate), expected);
    assert_eq!(
        event("IceGatheringDone", r#"{"source":"p/e"}"#),
        known(EventData::GatheringDone)
    );
    assert_eq!(
        event(
            "ConnectionStateChanged",
            r#"{"newState":"CONNECTED","oldState":"DISCONNECTED"}"#
        ),
        known(EventData::Connection(ConnectionState::Connected))
    );
    assert_eq!(
        event(
            "IceComponentStateChanged",
            r#"{"componentId":1,"state":"FAILED","streamId":1}"#
        ),
        known(EventData::Ice {
            component: 1,
            state: IceState::Failed
        })
    );
    assert_eq!(
        event(
            "MediaFlowOutStateChanged",
            r#"{"mediaType":"VIDEO","padName":"default","state":"NOT_FLOWING"}"#
        ),
        known(EventData::Flow {
            medium: MediaType::Video,
            state: FlowState::NotFlowing
        })
    );
    assert_eq!(
        event(
            "Error",
            r#"{"description":"Invalid URI","errorCode":0,"type":"INVALID_URI"}"#
        ),
        known(EventData::Error {
            description: "Invalid URI".to_owned()
        })
    );
    // What is not known, or lacks what makes it useful, is no error: servers differ in their events.
    assert_eq!(
        event("ObjectCreated", r#"{"object":"x"}"#),
        Incoming::Unknown
    );
    assert_eq!(event("IceCandidateFound", "{}"), Incoming::Unknown);
    assert_eq!(
        event("ConnectionStateChanged", r#"{"newState":7}"#),
        Incoming::Unknown
    );
}

#[test]
fn what_is_no_rpc_is_refused() {
    for text in [
        "",
        "not json",
        "[]",
        "12",
        "{}",
        r#"{"id":900}"#,
        r#"{"id":"x","result":{}}"#,
    ] {
        assert!(Incoming::parse(text).is_err(), "{text}");
    }
}

#[test]
fn event_names_go_both_ways_and_older_ones_are_found() {
    assert_eq!(EventName::IceCandidateFound.as_str(), "IceCandidateFound");
    assert_eq!(
        EventName::IceCandidateFound.legacy(),
        Some(EventName::OnIceCandidate)
    );
    assert_eq!(EventName::OnIceCandidate.legacy(), None);
}

fn reply(value: Value) -> Reply {
    let text = json!({"id": 1, "result": {"value": value}}).to_string();
    let Incoming::Reply { outcome, .. } = Incoming::parse(&text).unwrap() else {
        panic!("a reply");
    };
    outcome.unwrap()
}

#[test]
fn statistics_are_summed_and_null_means_none_yet() {
    assert_eq!(MediaStats::of(&reply(Value::Null)), MediaStats::default());
    let stats = MediaStats::of(&reply(json!({
        "a": {"type": "inboundrtp", "packetsReceived": 12.0, "bytesReceived": 3400, "packetsLost": 1, "remb": 600000},
        "b": {"type": "outboundrtp", "packetsSent": 5, "bytesSent": 600, "pliCount": 1, "firCount": 2,
              "fractionLost": 0.25, "roundTripTime": 0.031},
        "c": {"type": "session"},
        "d": {"type": "inboundrtp", "packetsReceived": -3, "bytesReceived": 1e300},
    })));
    let inbound = stats.inbound.unwrap();
    assert_eq!(
        (
            inbound.packets,
            inbound.octets,
            inbound.lost,
            inbound.remb_bps
        ),
        (12, u64::MAX, 1, 600_000)
    );
    let outbound = stats.outbound.unwrap();
    assert_eq!(
        (
            outbound.packets,
            outbound.octets,
            outbound.key_frame_requests
        ),
        (5, 600, 3)
    );
    assert_eq!((outbound.fraction_lost, outbound.round_trip), (0.25, 0.031));
}

#[test]
fn the_servers_version_and_lists_are_read() {
    let info = reply(json!({"type": "KMS", "version": "7.3.1-dev", "modules": []}));
    assert_eq!(server_version(&info), Some("7.3.1-dev"));
    assert_eq!(text_list(&reply(json!(["a", 7, "b"]))), ["a", "b"]);
    assert!(text_list(&reply(Value::Null)).is_empty());
}
