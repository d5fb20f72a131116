output "url" {
  description = "Where users and agents come."
  value       = "https://${var.host}"
}

output "release" {
  description = "The Helm release."
  value       = helm_release.control_plane.name
}

output "namespace" {
  description = "Where its objects are."
  value       = helm_release.control_plane.namespace
}

output "deployment" {
  description = "The Deployment of the replicas, for kubectl."
  value       = "${helm_release.control_plane.name}-control-plane"
}
