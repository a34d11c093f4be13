//! The arguments of `provision serve` and `provision bundle push`.

use std::path::PathBuf;

use clap::Args;

/// `provision serve`
#[derive(Debug, Clone, Args)]
pub struct Serve {
    /// The bundle
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    /// Only a bundle that is signed as this inventory wants, and holds all it asks for
    #[arg(short, long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// The address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: std::net::SocketAddr,
    /// The certificate, with its chain: a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key", required_unless_present = "plain_http")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's key: a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Serve without encryption
    #[arg(long, conflicts_with = "tls_cert")]
    pub plain_http: bool,
    /// No line for each request on stderr
    #[arg(short, long)]
    pub quiet: bool,
}

/// `provision bundle push`
#[derive(Debug, Clone, Args)]
pub struct Push {
    /// Where to: a registry's host and port, and what goes before every repository's name
    #[arg(value_name = "REGISTRY[/PREFIX]")]
    pub target: String,
    /// The bundle
    #[arg(short, long, value_name = "BUNDLE", env = "PROVISION_BUNDLE")]
    pub bundle: PathBuf,
    /// Only a bundle that is signed as this inventory wants, and holds all it asks for
    #[arg(short, long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// The registry has no encryption
    #[arg(long, conflicts_with = "ca")]
    pub plain_http: bool,
    /// Trust this CA as well: a PEM file
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The user to log in as
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// The environment variable that holds the password
    #[arg(long, value_name = "VARIABLE", requires = "user", conflicts_with = "password_file")]
    pub password_env: Option<String>,
    /// The file that holds the password
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// Move tags that name something else in the registry; without it nothing is pushed when there are such
    #[arg(long)]
    pub overwrite_tags: bool,
}
