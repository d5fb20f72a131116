-- expand
-- Which migrations the program of a replica knows; null: one of before this, which did not say so.
-- AlterTable
ALTER TABLE "replica" ADD COLUMN     "steps" TEXT[];
