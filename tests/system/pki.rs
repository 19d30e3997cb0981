//! Authorities and certificates of a test's own.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};

pub struct Authority {
    dir: PathBuf,
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Its certificate is `NAME.pem` in `dir`.
    pub fn new(dir: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        fs::write(dir.join(format!("{name}.pem")), &pem).unwrap();
        Self { dir: dir.to_owned(), pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate and its key, made out to these names.
    pub fn issue(&self, names: &[&str]) -> (String, String) {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// The same as `FILE.pem` and `FILE.pem.key`, which appear whole.
    pub fn write(&self, file: &str, names: &[&str]) {
        let (certificate, key) = self.issue(names);
        for (name, text) in [(format!("{file}.pem.key"), key), (format!("{file}.pem"), certificate)] {
            let aside = self.dir.join("aside");
            fs::write(&aside, text).unwrap();
            fs::rename(&aside, self.dir.join(name)).unwrap();
        }
    }
}
