//! Root file systems that images are made of, without a registry.

use crate::machine::{repository, sh};
use std::sync::OnceLock;

/// A tar file of a small root file system: BusyBox under all its names, some users, a directory for data.
pub fn small() -> &'static str {
    static TAR: OnceLock<String> = OnceLock::new();
    TAR.get_or_init(|| {
        let tar = "/tmp/small.tar";
        sh(&format!(
            "root=$(mktemp -d); cd $root; mkdir -p bin dev etc home proc root srv sys tmp var; chmod 755 .; chmod 1777 tmp
             cp /bin/busybox bin; chroot . /bin/busybox --install -s /bin
             printf 'root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/srv:/bin/sh\n' > etc/passwd
             printf 'root:x:0:\nwww:x:33:\nusers:x:100:www\n' > etc/group
             echo hello > srv/index.html
             tar -C $root -cf {tar} . && rm -r $root"
        ));
        tar.to_owned()
    })
}

/// An archive of the image `small`, as the OCI lays images out.
pub fn archive() -> &'static str {
    static TAR: OnceLock<String> = OnceLock::new();
    TAR.get_or_init(|| {
        let tar = "/tmp/small-image.tar";
        let layer = small();
        sh(&format!(
            "cd $(mktemp -d) && mkdir -p blobs/sha256 && cp {layer} layer
             blob() {{ sha=$(sha256sum < $1 | cut -d ' ' -f 1); size=$(stat -c %s $1); mv $1 blobs/sha256/$sha; }}
             entry() {{ echo '{{\"mediaType\":\"application/vnd.oci.image.'$1'\",\"digest\":\"sha256:'$sha'\",\"size\":'$size; }}
             blob layer; layer=$(entry layer.v1.tar)}}
             echo '{{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"sha256:'$sha'\"]}},
                 \"config\":{{\"Env\":[\"PATH=/bin\"],\"Cmd\":[\"sh\"]}}}}' > config
             blob config; config=$(entry config.v1+json)}}
             echo '{{\"schemaVersion\":2,\"config\":'$config',\"layers\":['$layer']}}' > manifest
             blob manifest; name='\"annotations\":{{\"io.containerd.image.name\":\"docker.io/library/small:latest\"}}}}'
             echo '{{\"schemaVersion\":2,\"manifests\":['$(entry manifest.v1+json),$name']}}' > index.json
             echo '{{\"imageLayoutVersion\":\"1.0.0\"}}' > oci-layout
             tar -cf {tar} ."
        ));
        tar.to_owned()
    })
}

/// A Debian root file system, with dpkg.
pub fn debian() -> String {
    let root = repository("target/debian-rootfs");
    assert!(root.join("usr/bin/dpkg").exists(), "{} is missing: conformance/run brings it along", root.display());
    root.display().to_string()
}
