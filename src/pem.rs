//! The text form of certificates, and the addresses in them. Pure.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How many letters of base64 stand on a line.
const LINE: usize = 64;

/// A certificate in PEM, byte for byte as kubeadm writes it.
#[must_use]
pub(crate) fn certificate_pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut line = 0;
    for letter in STANDARD.encode(der).chars() {
        text.push(letter);
        line += 1;
        if line == LINE {
            text.push('\n');
            line = 0;
        }
    }
    if line > 0 {
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

/// An address among the alternative names of a certificate: 4 or 16 bytes.
#[must_use]
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::pem::Pem;

    use super::*;

    #[test]
    fn it_reads_back_whatever_its_length() {
        for length in [1, 47, 48, 49, 500] {
            let der = vec![7; length];
            let text = certificate_pem(&der);
            assert!(
                text.lines().all(|l| l.len() <= LINE) && text.ends_with("-----\n") && !text.contains("\n\n"),
                "{text}"
            );
            let block = Pem::iter_from_buffer(text.as_bytes()).next().and_then(Result::ok);
            assert_eq!(block.map(|b| b.contents), Some(der));
        }
    }
}
