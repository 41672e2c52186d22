//! Bytes as messages of another member: Raft's, and questions to the leader. Any bytes are answered; the
//! member still serves after those that are no message of its cluster.
#![no_main]

use bytes::{Buf as _, Bytes};
use kv_raft::sim::{Chance, Trace, run};
use kv_sim::bug::Bug;
use kv_sim::cluster::Cluster;
use libfuzzer_sys::fuzz_target;

async fn serve(mut input: Bytes) {
    let mut chance = Chance::new(1);
    let cluster = Cluster::new(&mut chance, &[1], &[], Bug::None, Trace::new(false));
    cluster.start(1).await.expect("a member starts");
    let life = cluster.life(1).expect("it runs");
    life.member.consensus.read_barrier().await.expect("it leads");
    while input.remaining() >= 3 {
        let question = input.get_u8() % 2 == 1;
        let length = usize::from(input.get_u16_le()).min(input.remaining());
        let message = input.split_to(length);
        let limit = std::time::Duration::from_secs(30);
        let answer = async {
            if question { life.replica.answer(message).await } else { life.replica.handle(message).await }
        };
        tokio::time::timeout(limit, answer).await.expect("an answer in bounded time");
    }
    cluster.crash(1, false);
}

fuzz_target!(|input: &[u8]| {
    run(1, serve(Bytes::copy_from_slice(&input[..input.len().min(4096)]))).expect("a runtime");
});
