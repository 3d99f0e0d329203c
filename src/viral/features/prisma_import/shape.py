"""What a database made by the specification's Prisma schema has: its tables and their columns."""

from __future__ import annotations

_TABLES = {
    "tenants": "id name subscriptionTier subscriptionStatus stripeCustomerId stripeSubscriptionId"
    " monthlyQuota usedQuota quotaResetAt createdAt updatedAt",
    "users": "id clerkId email name imageUrl tenantId role apiKey apiKeyHash createdAt updatedAt"
    " lastLoginAt",
    "generations": "id tenantId date concepts trends isFavorite createdAt",
    "videos": "id tenantId conceptId category platform videoUrl cdnUrl thumbnailUrl provider status"
    " errorMessage metadata generationCost generatedAt createdAt updatedAt",
    "social_accounts": "id tenantId platform username accessToken refreshToken expiresAt dailyLimit"
    " usedToday lastReset niche isActive metadata createdAt updatedAt",
    "social_posts": "id videoId accountId platform postUrl platformPostId status errorMessage"
    " scheduledFor postedAt createdAt updatedAt",
    "performance_feedback": "id tenantId conceptId conceptTitle category platform variantId views"
    " likes shares comments engagementRate reportedAt dataSource",
    "analytics_snapshots": "id videoId platform views likes shares comments watchTime"
    " engagementRate snapshotAt",
    "self_critiques": "id tenantId conceptId performanceGap critique hypothesizedReasons"
    " scoringIssues adjustmentPlan confidenceLevel createdAt appliedAt",
    "reflexion_insights": "id tenantId category platform pattern evidenceCount impact"
    " recommendation appliedToScoring discoveredAt lastSeenAt",
    "scoring_adjustments": "id tenantId critiqueId category adjustmentType oldValue newValue reason"
    " appliedAt",
    "audio_trends": "id platform soundId soundName artistName usageCount trendScore category"
    " discoveredAt lastSeenAt isActive",
    "competitor_videos": "id platform creatorUsername videoId title views likes comments"
    " engagementRate duration hashtags category soundId hookText publishedAt scrapedAt",
    "job_queue": "id tenantId jobType status priority payload result errorMessage attempts"
    " maxAttempts scheduledFor startedAt completedAt createdAt",
    "system_metrics": "id metricType value metadata recordedAt",
    "api_usage": "id tenantId apiKey endpoint method statusCode responseTime timestamp",
}

COLUMNS: dict[str, tuple[str, ...]] = {
    table: tuple(columns.split()) for table, columns in _TABLES.items()
}
# Global lists with no table here: they go to JSON lines beside the report.
TO_FILES = ("audio_trends", "competitor_videos")
NOT_OURS = {"_prisma_migrations"}
