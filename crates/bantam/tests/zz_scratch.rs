use bantam_exec::{CompileOptions, Taps, compile};
use bantam_tensor::Tensor;
use std::time::Instant;
fn npy(path: &str) -> (Vec<usize>, Vec<f32>) {
    let b = std::fs::read(path).unwrap();
    let h = u16::from_le_bytes([b[8], b[9]]) as usize;
    let text = String::from_utf8_lossy(&b[10..10 + h]).into_owned();
    let dims = text.split("'shape': (").nth(1).unwrap().split(')').next().unwrap();
    let shape = dims.split(',').filter_map(|d| d.trim().parse().ok()).collect();
    (shape, b[10 + h..].chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect())
}
#[test]
fn scratch() {
    let (shape, x) = npy("/work/d_tmp/in.npy");
    let top = |r: &[f32]| (0..10).max_by(|&a, &b| r[a].total_cmp(&r[b])).unwrap();
    for name in ["u8", "s8"] {
        let graph = bantam_formats::onnx::load(format!("/work/d_tmp/resnet20_{name}.onnx").as_ref()).unwrap().graph;
        let program = compile(&graph, &CompileOptions::default()).unwrap();
        for s in program.steps() { println!("{} {}", s.node, s.kernel); }
        let (_, expected) = npy(&format!("/work/d_tmp/out_{name}.npy"));
        let (mut same, mut equal, mut n) = (0, 0, 0);
        let mut worst = 0f32;
        let per = 3 * 32 * 32;
        for start in (0..shape[0].min(1000)).step_by(100) {
            let t = Tensor::from_slice(&[100, 3, 32, 32], &x[start * per..(start + 100) * per]).unwrap();
            let y = program.run(&[("input", t)], &mut Taps::none()).unwrap();
            let y = y[0].to_f32().unwrap();
            for i in 0..100 {
                let (g, e) = (&y[i * 10..i * 10 + 10], &expected[(start + i) * 10..(start + i) * 10 + 10]);
                same += usize::from(top(g) == top(e));
                equal += usize::from(g == e);
                worst = g.iter().zip(e).fold(worst, |w, (a, b)| w.max((a - b).abs()));
                n += 1;
            }
        }
        println!("{name}: same top-1 {same} of {n}, bit-equal {equal}, worst {worst}");
        let t = Tensor::from_slice(&[64, 3, 32, 32], &x[..64 * per]).unwrap();
        let mut best = f64::MAX;
        for _ in 0..5 {
            let s = Instant::now();
            program.run(&[("input", t.clone())], &mut Taps::none()).unwrap();
            best = best.min(s.elapsed().as_secs_f64());
        }
        println!("{name}: {:.1} ms per 64", best * 1e3);
    }
}
