//! The least that a kernel can start: says so and waits for ever. `bench` boots it for comparison.

fn main() {
    println!("bench: init");
    loop {
        std::thread::park();
    }
}
