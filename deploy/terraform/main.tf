# Deploys the chart. The namespace, its Secret and PostgreSQL have to be there; docs/operations/deployment.md says how.
resource "helm_release" "wolfpack" {
  name      = var.release_name
  namespace = var.namespace
  chart     = coalesce(var.chart, "${path.module}/../helm/wolfpack")
  version   = var.chart_version

  # What does not come up is rolled back.
  atomic          = true
  cleanup_on_fail = true
  timeout         = var.timeout_seconds

  values = [
    yamlencode(local.chart_values),
    yamlencode(var.values),
  ]
}
