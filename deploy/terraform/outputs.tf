output "url" {
  description = "What agents and users are given."
  value       = "https://${var.host}"
}

output "namespace" {
  description = "Where the release is."
  value       = helm_release.wolfpack.namespace
}

output "deployment" {
  description = "Name of the Deployment, for kubectl rollout."
  value       = "${var.release_name}-control-plane"
}

output "values" {
  description = "What the chart was told, as YAML. No secret is in it."
  value       = yamlencode(local.chart_values)
}
