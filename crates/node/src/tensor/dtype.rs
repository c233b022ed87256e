//! Names of dtypes and devices.

use candle_core::{DType, Device};
use parking_lot::Mutex;
use swift_tuners_nn::error::printable;
use swift_tuners_nn::{Error, Result};

pub fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "f64",
        DType::F32 => "f32",
        DType::F16 => "f16",
        DType::BF16 => "bf16",
        DType::I64 => "i64",
        DType::U32 => "u32",
        DType::U8 => "u8",
        _ => "other",
    }
}

pub fn parse_dtype(name: &str) -> Result<DType> {
    Ok(match name {
        "f64" => DType::F64,
        "f32" => DType::F32,
        "f16" => DType::F16,
        "bf16" => DType::BF16,
        "i64" => DType::I64,
        "u32" => DType::U32,
        "u8" => DType::U8,
        other => return Err(Error::config("dtype", format!("unknown dtype {:?}", printable(other, 40)))),
    })
}

pub fn device_name(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        _ => "cpu".into(),
    }
}

pub fn parse_device(name: &str) -> Result<Device> {
    let failed = |message: String| Error::Device { device: printable(name, 40), message };
    if name == "cpu" {
        return Ok(Device::Cpu);
    }
    let index = match name.strip_prefix("cuda") {
        Some("") => 0,
        Some(rest) => rest
            .strip_prefix(':')
            .and_then(|n| n.parse().ok())
            .ok_or_else(|| failed("expected cpu, cuda or cuda:N".into()))?,
        None => return Err(failed("expected cpu, cuda or cuda:N".into())),
    };
    // One handle per GPU: candle tells devices apart by handle, and tensors of two handles do not mix.
    static OPEN: Mutex<Vec<(usize, Device)>> = Mutex::new(Vec::new());
    let mut open = OPEN.lock();
    if let Some((_, device)) = open.iter().find(|(i, _)| *i == index) {
        return Ok(device.clone());
    }
    let device =
        Device::new_cuda(index).map_err(|e| failed(format!("not available ({})", printable(&e.to_string(), 200))))?;
    open.push((index, device.clone()));
    Ok(device)
}
