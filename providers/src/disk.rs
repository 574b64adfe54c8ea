//! How much room there is on a disk.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The room on the file system of a folder, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSpace {
    /// What this user may still write.
    pub free_bytes: u64,
    /// What there is altogether.
    pub total_bytes: u64,
}

/// The room where `path` lies, or would: that of the nearest folder above it that is there.
pub fn disk_space(path: &Path) -> io::Result<DiskSpace> {
    let path = std::path::absolute(path)?;
    let there = path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let told = rustix::fs::statvfs(there)?;
    let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
    Ok(DiskSpace { free_bytes: bytes(told.f_bavail), total_bytes: bytes(told.f_blocks) })
}

/// Opens a regular file to be read; anything else, such as a pipe, may be waited for without an end.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    match fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// The bytes that a file takes: ranges that come side by side leave holes, which take nothing.
pub(crate) fn allocated(file: &Metadata) -> u64 {
    const BLOCK: u64 = 512;
    file.blocks() * BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_room_of_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        let here = disk_space(folder.path()).unwrap();
        assert!(here.total_bytes > 0 && here.free_bytes <= here.total_bytes);
        assert_eq!(disk_space(&folder.path().join("not/yet")).unwrap().total_bytes, here.total_bytes);
    }
}
