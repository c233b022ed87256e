//! Writes the seeds of a reader into a folder: `seeds TARGET FOLDER`.

fn main() -> std::io::Result<()> {
    let [name, folder] = std::env::args().skip(1).collect::<Vec<_>>().try_into().expect("a target and a folder");
    let target = swift_tuners_fuzz::find(&name).expect("a target");
    for (i, seed) in (target.seeds)().into_iter().enumerate() {
        std::fs::write(std::path::Path::new(&folder).join(format!("seed-{i}")), seed)?;
    }
    Ok(())
}
