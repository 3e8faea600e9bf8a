//! Expressions of policies: whatever compiles is evaluated within its bound, twice with one answer.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use policy::{EVALUATION_STACK_BYTES, Expression, environment};
use serde_json::json;

/// Compiles and evaluates a source, in the environment that it captured.
type Attempt = Box<dyn Fn(&str) + Send + Sync>;

fn attempt() -> Attempt {
    let environment = environment().expect("the environment is built");
    let object = json!({
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"replicas": 3, "ratio": 0.5, "containers": [{"name": "a", "image": "a:1"}, {"name": "b"}]},
    });
    Box::new(move |source| {
        let Ok(expression) = Expression::compile(&environment, source) else { return };
        assert_eq!(expression.source(), source);
        let [first, second] = [(); 2].map(|()| format!("{:?}", expression.evaluate(&object)));
        assert_eq!(first, second, "not deterministic");
    })
}

fuzz_target!(|bytes: &[u8]| {
    static ATTEMPT: OnceLock<Attempt> = OnceLock::new();
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let attempt = ATTEMPT.get_or_init(attempt);
    // As in the product: what recurses runs on a stack of its own size.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(EVALUATION_STACK_BYTES);
        let running = thread.spawn_scoped(scope, || attempt(source)).expect("a thread");
        running.join().expect("no panic");
    });
});
