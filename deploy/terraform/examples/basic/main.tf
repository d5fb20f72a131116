# terraform init && terraform plan, with a kubeconfig that leads to the cluster.
terraform {
  required_version = ">= 1.5.0"

  required_providers {
    helm = {
      source  = "hashicorp/helm"
      version = ">= 2.12.0"
    }
  }
}

module "wolfpack" {
  source = "../.."

  host             = "wolfpack.example.com"
  image_repository = "images.example.com/wolfpack/control-plane"
  image_tag        = "0.1.0"
  trusted_proxies  = ["10.42.0.0/16"]

  replicas = {
    min = 3
    max = 3
  }

  settings = {
    WOLFPACK_PLACEMENT_POLICY = "bin-pack"
  }
}

output "url" {
  description = "What agents and users are given."
  value       = module.wolfpack.url
}
