//! Passwords, as etcd hashes them: bcrypt, on threads that may take their time.

use tonic::Status;

use super::Auth;

/// More is not part of bcrypt's hash, so it is refused.
const LONGEST_BYTES: usize = 72;

impl Auth {
    /// Hashes a password.
    ///
    /// # Errors
    /// It is longer than bcrypt can hash, with etcd's text; [`Status::internal`] if the system
    /// has no randomness.
    pub async fn hash(&self, password: String) -> Result<String, Status> {
        if password.len() > LONGEST_BYTES {
            return Err(Status::unknown("bcrypt: password length exceeds 72 bytes"));
        }
        let cost = self.settings().bcrypt_cost;
        self.apart(move || bcrypt::hash(password, cost))
            .await?
            .map_err(|error| Status::internal(format!("hashing a password: {error}")))
    }

    /// Whether a password is the one that was hashed.
    ///
    /// # Errors
    /// The member is stopping.
    pub async fn verify(&self, password: String, hash: bytes::Bytes) -> Result<bool, Status> {
        let verified = self.apart(move || {
            // A hash that is none is nobody's password.
            std::str::from_utf8(&hash).is_ok_and(|hash| bcrypt::verify(password, hash).unwrap_or(false))
        });
        verified.await
    }

    async fn apart<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
        let stopping = || Status::from(kv_api::Fault::Stopped);
        let _turn = self.hashing.acquire().await.map_err(|_| stopping())?;
        tokio::task::spawn_blocking(work).await.map_err(|_| stopping())
    }
}
